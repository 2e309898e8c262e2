#include "apps/strata/results.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "apps/strata/evaluation.h"
#include "apps/strata/phase_timer.h"
#include "core/file.h"
#include "data/metrics.h"
#include "dist/agreement.h"

namespace strata::app {
namespace {

/// JSON has no NaN; a correlation of constants, which is undefined, is null.
nlohmann::json number_or_null(double value) {
    return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

/// Four digits, and never an exponent for what is counted: 11890 and not 1.189e+04.
std::string short_number(double value) {
    return std::abs(value) >= 1e4 && std::abs(value) < 1e15 ? fmt::format("{:.0f}", value)
                                                            : fmt::format("{:.4g}", value);
}

/// Labels that were integers in the data are integers again; others are text.
nlohmann::json label_value(const std::string& name) {
    const auto number = data::parse_integer(name);
    return number && std::to_string(*number) == name ? nlohmann::json(*number) : nlohmann::json(name);
}

/// With a bar that says `what` is being done.
Predictions predict_corpus(const Config& config, const Experiment& experiment, const Corpus& corpus, const char* what,
                           dist::Communicator& communicator) {
    Progress bar(Progress::mode_of(config.progress, communicator.rank()), what,
                 batch_count(corpus.size(), config.per_device_eval_batch_size));
    return predict(experiment.model(), corpus, experiment.labels.outputs(), experiment.regression(),
                   config.per_device_eval_batch_size, communicator, bar);
}

std::string predictions_jsonl(const Predictions& predictions, const data::LabelSet& labels) {
    std::string text;
    for (std::size_t i = 0; i < predictions.values.size(); ++i) {
        const auto row = predictions.row(static_cast<std::int64_t>(i));
        nlohmann::ordered_json line = {{"index", i}};
        if (labels.regression) {
            line["label"] = predictions.values[i];
        } else {
            line["label"] = label_value(labels.names[static_cast<std::size_t>(predictions.values[i])]);
        }
        line["logits"] = std::vector<float>(row.begin(), row.end());
        text += line.dump() + "\n";
    }
    return text;
}

void add_set(nlohmann::json& results, const Config& config, const Experiment& experiment, const EvaluationSet& set,
             dist::Communicator& communicator) {
    const auto began = std::chrono::steady_clock::now();
    const Predictions predictions = predict_corpus(config, experiment, *set.corpus, "evaluate", communicator);
    for (const auto& [name, value] : measure(predictions, *set.corpus, config.task_name, experiment.labels)) {
        results["eval_" + name + set.suffix] = number_or_null(value);
    }
    const double seconds = seconds_since(began);
    results["eval_samples" + set.suffix] = set.corpus->size();
    results["eval_runtime" + set.suffix] = seconds;
    results["eval_samples_per_second" + set.suffix] = static_cast<double>(set.corpus->size()) / seconds;
    results["eval_tokens_per_second" + set.suffix] = static_cast<double>(predictions.tokens) / seconds;
}

}  // namespace

nlohmann::json evaluate_sets(const Config& config, const Experiment& experiment, dist::Communicator& communicator) {
    nlohmann::json results = nlohmann::json::object();
    for (const auto& set : experiment.validation) add_set(results, config, experiment, set, communicator);
    return results;
}

std::vector<std::string> evaluation_names(const Config& config, const Experiment& experiment) {
    std::vector<std::string> names;
    for (const auto& set : experiment.validation) {
        // Names do not depend on what is predicted; the labels themselves are predictions at hand.
        const std::vector<double> labels = set.corpus->labels();
        for (const auto& [name, value] : data::compute_metrics(config.task_name, experiment.labels, labels, labels)) {
            names.push_back("eval_" + name + set.suffix);
        }
        names.push_back("eval_loss" + set.suffix);
    }
    return names;
}

std::string results_text(const nlohmann::json& results) {
    std::string text;
    for (const auto& [name, value] : results.items()) {
        text += (text.empty() ? "" : " | ") + name + " ";
        text += value.is_number_float() ? short_number(value.get<double>()) : value.dump();
    }
    return text;
}

void predict_test(const Config& config, const Experiment& experiment, const std::filesystem::path& file,
                  dist::Communicator& communicator) {
    const Predictions predictions = predict_corpus(config, experiment, *experiment.test, "predict", communicator);
    dist::collectively(communicator, "writing predictions", [&] {
        if (communicator.rank() == 0) write_file_atomically(file, predictions_jsonl(predictions, experiment.labels));
    });
}

}  // namespace strata::app
