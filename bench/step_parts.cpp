// Where the time of a training step of a BERT goes: every operation of forward and backward by the time spent in
// itself, for one rank, on the sentences of a file as they come.
//
//   step_parts MODEL_FOLDER TEXT_FILE BATCH STEPS THREADS [bf16]
//
// Times are medians over the steps of one thread's processor time with THREADS 1, else of the wall clock. A row is an
// operator of ATen or a node of autograd, less the operators that it calls.
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "core/heap.h"
#include "data/wordpiece.h"
#include "models/hf_folder.h"
#include "models/losses.h"

namespace strata {
namespace {

clockid_t clock_id = CLOCK_MONOTONIC;

double now() {
    timespec time{};
    ::clock_gettime(clock_id, &time);
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

long page_faults() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

/// Self times of the operations under way: the clock runs for the innermost.
class Profile {
  public:
    void enter(const char* name) {
        charge();
        stack_.emplace_back(name);
        ++parts_[stack_.back()].calls;
    }
    void leave() {
        charge();
        stack_.pop_back();
    }
    void begin() {
        parts_.clear();
        last_ = now();
    }
    struct Part {
        double milliseconds = 0;
        int calls = 0;
    };
    const std::map<std::string, Part>& parts() const { return parts_; }

  private:
    void charge() {
        const double time = now();
        parts_[stack_.empty() ? "(outside)" : stack_.back()].milliseconds += time - last_;
        last_ = time;
    }
    std::vector<std::string> stack_;
    std::map<std::string, Part> parts_;
    double last_ = 0;
};

Profile& profile() {
    static Profile it;
    return it;
}

std::vector<std::vector<std::int32_t>> encode(const std::string& folder, const std::string& file) {
    const auto tokenizer = data::WordPieceTokenizer::from_folder(folder);
    std::ifstream in(file);
    std::vector<std::vector<std::int32_t>> all;
    for (std::string line; std::getline(in, line);) {
        all.push_back(tokenizer.encode(line.substr(0, line.find('\t')), std::nullopt, 128).ids);
    }
    return all;
}

models::PackedInput batch_of(const std::vector<std::vector<std::int32_t>>& all, std::size_t from, std::size_t count) {
    std::vector<std::int64_t> ids, offsets{0};
    for (std::size_t i = 0; i < count; ++i) {
        const auto& sentence = all[(from + i) % all.size()];
        ids.insert(ids.end(), sentence.begin(), sentence.end());
        offsets.push_back(static_cast<std::int64_t>(ids.size()));
    }
    return models::PackedInput::from_vectors(ids, {}, {}, offsets, {});
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

int run(int argc, char** argv) {
    if (argc < 6) return 2;
    const std::string folder = argv[1];
    const auto batch = static_cast<std::size_t>(std::atoi(argv[3]));
    const int steps = std::atoi(argv[4]), threads = std::atoi(argv[5]);
    const bool bf16 = argc > 6;
    at::set_num_threads(threads);
    if (threads == 1) clock_id = CLOCK_THREAD_CPUTIME_ID;
    const auto sentences = encode(folder, argv[2]);
    const auto loaded = models::load_model(folder, {});
    auto& model = *loaded.model;
    if (bf16) model.to(torch::kBFloat16);
    for (auto& parameter : model.parameters()) {
        parameter.set_requires_grad(true);
        parameter.mutable_grad() = torch::zeros_like(parameter);
    }
    at::addThreadLocalCallback(
        at::RecordFunctionCallback(
            [](const at::RecordFunction& function) {
                profile().enter(function.name());
                return std::unique_ptr<at::ObserverContext>();
            },
            [](const at::RecordFunction&, at::ObserverContext*) { profile().leave(); })
            .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION, at::RecordScope::USER_SCOPE}));
    std::map<std::string, std::vector<double>> times;
    std::map<std::string, int> calls;
    std::vector<double> forward, backward, tokens, faults;
    for (int step = 0; step < steps + 2; ++step) {
        const auto input = batch_of(sentences, static_cast<std::size_t>(step) * batch, batch);
        std::vector<double> labels(batch, 0.0);
        const long faults_before = page_faults();
        profile().begin();
        const double began = now();
        const torch::Tensor logits = model.forward(input, models::DropoutKey{42, step});
        const torch::Tensor loss = models::loss_sum(logits.to(torch::kFloat32), labels, false) / double(batch);
        const double between = now();
        loss.backward();
        const double ended = now();
        const long faults_after = page_faults();
        for (auto& parameter : model.parameters()) parameter.mutable_grad().zero_();
        if (step < 2) continue;
        forward.push_back(between - began);
        backward.push_back(ended - between);
        tokens.push_back(static_cast<double>(input.tokens()));
        faults.push_back(static_cast<double>(faults_after - faults_before));
        for (const auto& [name, part] : profile().parts()) {
            times[name].push_back(part.milliseconds);
            calls[name] = part.calls;
        }
    }
    double whole = 0, all_tokens = 0;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        whole += forward[i] + backward[i];
        all_tokens += tokens[i];
    }
    fmt::print(
        "{} threads, {}: {:.0f} tokens a step; forward {:.1f} ms, backward {:.1f} ms; {:.0f} tokens/s; {:.0f} page "
        "faults\n",
        threads, bf16 ? "bf16" : "fp32", median(tokens), median(forward), median(backward), all_tokens / whole * 1e3,
        median(faults));
    std::vector<std::pair<double, std::string>> rows;
    for (auto& [name, list] : times) rows.emplace_back(median(list), name);
    std::sort(rows.rbegin(), rows.rend());
    for (const auto& [time, name] : rows) {
        if (time < 0.05) continue;
        fmt::print("{:8.2f} ms {:5.1f} %  {:4d}  {}\n", time, 100 * time / (median(forward) + median(backward)),
                   calls[name], name);
    }
    return 0;
}

}  // namespace
}  // namespace strata

int main(int argc, char** argv) {
    strata::keep_freed_memory();
    return strata::run(argc, argv);
}
