#include "apps/strata/evaluation.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "apps/strata/device.h"
#include "core/error.h"
#include "data/metrics.h"

namespace strata::app {
namespace {

/// Samples in order of length: ranks that take every N-th batch of it have equal work. Ties keep the file's order.
std::vector<std::int64_t> by_length(const Corpus& corpus) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(corpus.size()));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return corpus.length(a) > corpus.length(b); });
    return order;
}

void append_bytes(std::string& bytes, const void* data, std::size_t size) {
    bytes.append(static_cast<const char*>(data), size);
}

/// The own logits as (sample index, row of floats) records.
std::string own_records(models::Model& model, const Corpus& corpus, std::int64_t outputs, std::int64_t batch_size,
                        dist::Communicator& communicator, Progress& progress) {
    const torch::NoGradGuard no_grad;
    const torch::Device device = device_of(model);
    const auto order = by_length(corpus);
    std::string records;
    const std::int64_t batches = batch_count(corpus.size(), batch_size);
    for (std::int64_t batch = communicator.rank(); batch < batches; batch += communicator.size()) {
        const std::int64_t begin = batch * batch_size;
        const std::int64_t count = std::min(batch_size, corpus.size() - begin);
        const auto samples = std::span(order).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
        const auto logits =
            model.forward(on_device(corpus.input(samples, samples), device), std::nullopt).cpu().contiguous();
        STRATA_CHECK(logits.size(1) == outputs, "the model has {} outputs, expected {}", logits.size(1), outputs);
        for (std::int64_t i = 0; i < count; ++i) {
            append_bytes(records, &samples[static_cast<std::size_t>(i)], sizeof(std::int64_t));
            append_bytes(records, logits.const_data_ptr<float>() + i * outputs,
                         sizeof(float) * static_cast<std::size_t>(outputs));
        }
        progress.advance(std::min(batch + communicator.size(), batches), "");
    }
    return records;
}

void scatter_records(const std::string& records, Predictions& predictions) {
    const std::size_t row_bytes = sizeof(float) * static_cast<std::size_t>(predictions.outputs);
    for (std::size_t at = 0; at < records.size(); at += sizeof(std::int64_t) + row_bytes) {
        std::int64_t sample = 0;
        std::memcpy(&sample, records.data() + at, sizeof(sample));
        std::memcpy(predictions.logits.data() + sample * predictions.outputs, records.data() + at + sizeof(sample),
                    row_bytes);
    }
}

double cross_entropy(std::span<const float> logits, std::size_t label) {
    const double peak = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - peak);
    return std::log(sum) + peak - static_cast<double>(logits[label]);
}

}  // namespace

std::span<const float> Predictions::row(std::int64_t sample) const {
    return std::span(logits).subspan(static_cast<std::size_t>(sample * outputs), static_cast<std::size_t>(outputs));
}

std::int64_t batch_count(std::int64_t samples, std::int64_t batch_size) {
    return (samples + batch_size - 1) / batch_size;
}

Predictions predict(models::Model& model, const Corpus& corpus, std::int64_t outputs, bool regression,
                    std::int64_t batch_size, dist::Communicator& communicator, Progress& progress) {
    communicator.activity().enter("evaluation");
    Predictions predictions;
    predictions.outputs = outputs;
    predictions.logits.resize(static_cast<std::size_t>(corpus.size() * outputs));
    const std::string own = own_records(model, corpus, outputs, batch_size, communicator, progress);
    for (const auto& records : communicator.all_gather_bytes(own)) scatter_records(records, predictions);
    for (std::int64_t i = 0; i < corpus.size(); ++i) {
        const auto row = predictions.row(i);
        predictions.values.push_back(
            regression ? row[0] : static_cast<double>(std::max_element(row.begin(), row.end()) - row.begin()));
        predictions.tokens += corpus.length(i);
    }
    return predictions;
}

double mean_loss(const Predictions& predictions, const std::vector<double>& labels, bool regression) {
    double sum = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const auto row = predictions.row(static_cast<std::int64_t>(i));
        sum += regression ? std::pow(static_cast<double>(row[0]) - labels[i], 2)
                          : cross_entropy(row, static_cast<std::size_t>(labels[i]));
    }
    return sum / static_cast<double>(labels.size());
}

std::map<std::string, double> measure(const Predictions& predictions, const Corpus& corpus,
                                      const std::string& task_name, const data::LabelSet& labels) {
    STRATA_CHECK(corpus.has_labels(), "{} has no labels to measure against", corpus.path().string());
    auto metrics = data::compute_metrics(task_name, labels, predictions.values, corpus.labels());
    metrics["loss"] = mean_loss(predictions, corpus.labels(), labels.regression);
    return metrics;
}

}  // namespace strata::app
