#include "apps/strata/checkpoint_difference.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "apps/strata/checkpoint_weights.h"
#include "core/error.h"

namespace strata::app {
namespace {

namespace fs = std::filesystem;
using dist::StateKind;

constexpr const char* absent = "missing";

/// Notes what differs of `subject`.
class Notes {
  public:
    explicit Notes(std::vector<Change>& changes) : changes_(changes) {}

    void text(const std::string& subject, const std::string& a, const std::string& b) {
        if (a != b) changes_.push_back({subject, a, b});
    }
    template <typename Number>
    void number(const std::string& subject, Number a, Number b) {
        text(subject, fmt::format("{}", a), fmt::format("{}", b));
    }

  private:
    std::vector<Change>& changes_;
};

void compare_group(const dist::StateGroup& a, const dist::StateGroup& b, Notes& notes) {
    const std::string subject = "group " + a.name + ": ";
    notes.number(subject + "step", a.step, b.step);
    notes.number(subject + "frozen", a.frozen, b.frozen);
    notes.number(subject + "multiplier", a.multiplier, b.multiplier);
    notes.number(subject + "learning rate", a.learning_rate, b.learning_rate);
    notes.number(subject + "weight decay", a.weight_decay, b.weight_decay);
    notes.number(subject + "beta1", a.beta1, b.beta1);
    notes.number(subject + "beta2", a.beta2, b.beta2);
    notes.number(subject + "epsilon", a.epsilon, b.epsilon);
    notes.number(subject + "parameters", a.members.size(), b.members.size());
    notes.number(subject + "elements", a.elements, b.elements);
}

void compare_groups(const dist::StateFile& a, const dist::StateFile& b, Notes& notes) {
    std::map<std::string, const dist::StateGroup*> others;
    for (const auto& stored : b.groups()) others[stored.group.name] = &stored.group;
    for (const auto& stored : a.groups()) {
        const auto found = others.extract(stored.group.name);
        if (found.empty())
            notes.text("group " + stored.group.name, "there", absent);
        else
            compare_group(stored.group, *found.mapped(), notes);
    }
    for (const auto& [name, group] : others) notes.text("group " + name, absent, "there");
}

bool has(const dist::StateFile& file, std::size_t group, StateKind kind) {
    return file.groups()[group].present[static_cast<std::size_t>(kind)];
}

StateDifference compare_elements(const dist::StateFile& a, const CheckpointWeights::Place& in_a,
                                 const dist::StateFile& b, const CheckpointWeights::Place& in_b, StateKind kind) {
    StateDifference difference;
    std::vector<float> left;
    std::vector<float> right;
    const std::int64_t elements = in_a.segment->elements;
    for (std::int64_t at = 0; at < elements;) {
        // Up to the end of a block of the first file, each of which is then read once.
        const std::int64_t place = in_a.segment->offset + at;
        const std::int64_t count =
            std::min(elements - at, dist::checksum_block_elements - place % dist::checksum_block_elements);
        left.resize(static_cast<std::size_t>(count));
        right.resize(static_cast<std::size_t>(count));
        a.read(in_a.group, kind, {{place, place + count, left.data()}});
        const std::int64_t other = in_b.segment->offset + at;
        b.read(in_b.group, kind, {{other, other + count, right.data()}});
        for (std::size_t i = 0; i < left.size(); ++i) {
            difference.add(left[i], right[i], std::memcmp(&left[i], &right[i], sizeof(float)) == 0);
        }
        at += count;
    }
    return difference;
}

/// A tensor that is in no group, as the model's file has it.
StateDifference compare_buffers(const torch::Tensor& a, const torch::Tensor& b) {
    StateDifference difference;
    const torch::Tensor left = a.to(torch::kFloat64).flatten();
    const torch::Tensor right = b.to(torch::kFloat64).flatten();
    for (std::int64_t i = 0; i < left.numel(); ++i) {
        const double x = left.data_ptr<double>()[i];
        const double y = right.data_ptr<double>()[i];
        difference.add(x, y, std::memcmp(&x, &y, sizeof(double)) == 0);
    }
    return difference;
}

class Comparison {
  public:
    Comparison(const fs::path& a, const fs::path& b) : a_(a), b_(b) {}

    CheckpointDifference run() {
        const dist::TrainHeader& a = a_.state().header();
        const dist::TrainHeader& b = b_.state().header();
        result_.configuration = compare_configs(a.effective_config, b.effective_config);
        notes_.number("step", a.step, b.step);
        notes_.number("epoch", a.epoch, b.epoch);
        notes_.text("stage", a.stage, b.stage);
        notes_.text("model and labels", a.model_fingerprint, b.model_fingerprint);
        compare_groups(a_.state(), b_.state(), notes_);
        compare_parameters();
        compare_others();
        return std::move(result_);
    }

  private:
    void compare_parameters() {
        auto others = b_.places();
        for (std::size_t group = 0; group < a_.state().groups().size(); ++group) {
            const dist::StateGroup& own = a_.state().groups()[group].group;
            DifferenceRow sum{own.name, {}};
            for (const auto& segment : own.members) {
                const auto found = others.extract(segment.name);
                if (found.empty())
                    notes_.text("parameter " + segment.name, "there", absent);
                else if (found.mapped().segment->shape != segment.shape)
                    notes_.text("parameter " + segment.name + ": shape", dist::shape_text(segment.shape),
                                dist::shape_text(found.mapped().segment->shape));
                else
                    compare_parameter({group, &segment}, found.mapped(), sum);
            }
            result_.groups.push_back(std::move(sum));
        }
        for (const auto& [name, place] : others) notes_.text("parameter " + name, absent, "there");
    }

    void compare_parameter(const CheckpointWeights::Place& a, const CheckpointWeights::Place& b, DifferenceRow& sum) {
        DifferenceRow row{a.segment->name, {}};
        for (const StateKind kind : dist::state_kinds) {
            const bool in_a = has(a_.state(), a.group, kind);
            const bool in_b = has(b_.state(), b.group, kind);
            if (in_a != in_b)
                notes_.text(fmt::format("parameter {}: {}", row.name, dist::name_of(kind)), in_a ? "there" : absent,
                            in_b ? "there" : absent);
            if (!in_a || !in_b) continue;
            const auto k = static_cast<std::size_t>(kind);
            row.states[k] = compare_elements(a_.state(), a, b_.state(), b, kind);
            if (!sum.states[k]) sum.states[k].emplace();
            sum.states[k]->add(*row.states[k]);
        }
        result_.parameters.push_back(std::move(row));
    }

    /// Buffers, and what else the model's files have that is in no group.
    void compare_others() {
        std::map<std::string, std::vector<std::int64_t>> others;
        for (const auto& tensor : b_.tensors()) {
            if (b_.find(tensor.name) == nullptr) others[tensor.name] = tensor.shape;
        }
        for (const auto& tensor : a_.tensors()) {
            if (a_.find(tensor.name) != nullptr) continue;
            const auto found = others.extract(tensor.name);
            if (found.empty()) {
                notes_.text("tensor " + tensor.name, "there", absent);
            } else if (found.mapped() != tensor.shape) {
                notes_.text("tensor " + tensor.name + ": shape", dist::shape_text(tensor.shape),
                            dist::shape_text(found.mapped()));
            } else {
                DifferenceRow row{tensor.name, {}};
                row.states[0] = compare_buffers(a_.load(tensor.name), b_.load(tensor.name));
                result_.parameters.push_back(std::move(row));
            }
        }
        for (const auto& [name, shape] : others) notes_.text("tensor " + name, absent, "there");
    }

    CheckpointWeights a_;
    CheckpointWeights b_;
    CheckpointDifference result_;
    Notes notes_{result_.state};
};

}  // namespace

void StateDifference::add(double a, double b, bool same_bits) {
    ++elements;
    reference += a * a;
    if (same_bits) return;
    ++unequal;
    const double difference = std::abs(a - b);
    if (!(difference <= largest)) largest = std::isnan(largest) ? largest : difference;
    squares += difference * difference;
}

void StateDifference::add(const StateDifference& other) {
    elements += other.elements;
    unequal += other.unequal;
    if (!(other.largest <= largest)) largest = std::isnan(largest) ? largest : other.largest;
    squares += other.squares;
    reference += other.reference;
}

double StateDifference::relative() const {
    if (squares == 0) return 0;
    return reference == 0 ? std::numeric_limits<double>::infinity() : std::sqrt(squares / reference);
}

bool DifferenceRow::equal() const {
    return std::all_of(states.begin(), states.end(), [](const auto& state) { return !state || state->unequal == 0; });
}

bool CheckpointDifference::equal() const {
    return configuration.empty() && state.empty() &&
           std::all_of(parameters.begin(), parameters.end(), [](const DifferenceRow& row) { return row.equal(); });
}

CheckpointDifference compare_checkpoints(const fs::path& a, const fs::path& b) {
    return Comparison(a, b).run();
}

}  // namespace strata::app
