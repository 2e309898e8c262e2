// Where a model's parameters live: group after group in one arena, each group contiguous, the module's parameters views
// of it. Gradients of the groups that learn lie in a second arena in the same order, again with the module's as views.
//
// Owner r of N has the r-th slice of every group (optim/shard.h) and keeps optimizer state for that slice alone. Each
// group is padded in memory to N slices of one stride, so that collectives run in place; padding is zero and stays
// zero. Groups follow the plan's order, the input's side first: the backward pass fills the gradient arena from its
// end, so a run of finished groups is one contiguous piece, and the next forward pass reads the parameter arena from
// its start. Where the plan computes in 16 bits, both arenas are of that type (gradients as Plan::gradient_type()
// says), and each rank keeps an fp32 master of its own slices, of frozen groups' too: the update works on masters and
// rounds them into the arena, checkpoints hold masters. Where it rounds stochastically there are none: the update works
// on the arena, and checkpoints hold what lies there. Where the plan keeps sums (Plan::keeps_sums()), those of the own
// slices have an arena of their own; under ZeRO stage 2 it is the only one, and the backward pass leaves gradients
// wherever it makes them (gradient_reducer.h collects them).
//
// A frozen group has parameters and nothing else: no gradient, requires_grad off, and no state unless the plan keeps it
// for a later thaw. Where a stage of the plan begins, enter() gives and takes gradients and state on every rank alike;
// no group's parameters move. A tensor registered under two names (tied weights) is stored once, under the name the
// plan knows; its other names are aliases of that memory.
//
// All of it lies where the parameters lay that the storage was given: in host memory, or on one GPU. Pointers lead
// there.
//
// Autograd adds into the gradient views in place. Whoever drops or replaces a gradient (torch's zero_grad does by
// default) cuts the model off from its storage; require_bound() finds that out. Units: elements. The plan's
// segments and the named parameters must be the same (STRATA_CHECK).
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dist/communicator.h"
#include "optim/fused_update.h"
#include "optim/plan.h"
#include "optim/segment_table.h"
#include "optim/shard.h"

namespace strata::dist {

using NamedParameters = std::vector<std::pair<std::string, torch::Tensor>>;

/// What communicators call the type.
ElementType element_type(optim::ComputeType type);
torch::ScalarType scalar_type(optim::ComputeType type);

/// Knows from those who write gradients what these hold from one step to the next: so that not all is zeroed, and
/// nothing that a backward pass then writes over.
class GradientWatch {
  public:
    virtual ~GradientWatch() = default;

    /// From here on these parameters' gradients alone, which are bound and zero.
    virtual void watch(const std::vector<torch::Tensor>& parameters) = 0;

    /// The parameter's gradient counts as zero. Ranks' sums may have come to its elements [sums.begin, sums.end).
    virtual void start_anew(const torch::Tensor& parameter, optim::Slice sums) = 0;

    /// If it still only counts as zero, it becomes so.
    virtual void settle(const torch::Tensor& parameter) = 0;
};

class GroupStorage {
  public:
    /// Moves the parameters' values (fp32) into the arena and rebinds the tensors to it, ready for the plan's first
    /// step: they are of the plan's compute type from here on. `owner` of plan.owners(). Keeps a reference to the
    /// plan. `memory`: what the arenas are to communicators and passes, where tensors do not tell (a GPU's stand-in).
    /// `watch`, in host memory alone: knows what these gradients hold; without one all of them are zeroed.
    GroupStorage(const optim::Plan& plan, const NamedParameters& parameters, int owner,
                 std::optional<Memory> memory = std::nullopt, std::unique_ptr<GradientWatch> watch = nullptr);
    GroupStorage(const GroupStorage&) = delete;
    GroupStorage& operator=(const GroupStorage&) = delete;

    /// Makes ready for the update of `step`. At the first step of a stage, groups freeze, thaw with moments zero and
    /// step count 0, or start anew, as plan.transitions() says; gradients are zero then. Elsewhere it does nothing.
    void enter(std::int64_t step);

    /// Changes whenever enter() has moved gradients or state.
    std::int64_t layout() const { return layout_; }

    std::size_t groups() const { return places_.size(); }
    Memory memory_kind() const { return memory_kind_; }
    bool live(std::size_t group) const { return places_[group].live; }

    /// Of a group, without padding.
    std::int64_t elements(std::size_t group) const { return plan_.groups[group].elements; }

    /// What gradients are added up in counts as zero: a step begins. Watched ones need not be zero before
    /// settle_gradient(); sums are written over by the first that comes to them.
    void zero_gradients();

    /// Of a parameter that learns: nothing is added any more before it is read.
    void settle_gradient(const torch::Tensor& parameter);

    /// Whether sums hold what an earlier micro-batch of the step has brought; else they only count as zero.
    bool sums_hold() const { return sums_hold_; }
    /// A micro-batch has come to all of them.
    void sums_have_come() { sums_hold_ = true; }

    /// STRATA_CHECK, naming the parameter, that every tensor and gradient of the model still lies here.
    void require_bound() const;

    /// A parameter that learns and its place in its group. A tensor under two names is here twice.
    struct LiveParameter {
        torch::Tensor parameter;
        std::size_t group = 0;
        std::int64_t offset = 0;  ///< elements, in the group's logical content
    };
    std::vector<LiveParameter> live_parameters() const;

    /// A live group's gradients as the parts of all ranks, padding included. Stage 1 only.
    PartedView gradient_parts(std::size_t group);

    /// Where the own slice of a live group's gradients adds up, in fp32, padding included, where the plan
    /// keeps sums.
    float* gradient_sums(std::size_t group);

    /// A group's parameters, unpadded, where they are fp32 (STRATA_CHECK).
    std::span<float> parameters(std::size_t group);

    /// Where a parameter of the model lies: its group, and the element there.
    struct ParameterPlace {
        std::size_t group = 0;
        std::int64_t offset = 0;
    };
    ParameterPlace place_of(const torch::Tensor& parameter) const;

    /// Gives the parameters these values, by their names in the model (all of them, fp32), as the constructor does.
    void set_values(const NamedParameters& values);

    /// Masters' values into the arena, the own slices' alone: after masters were loaded. Nothing to do without.
    void round_masters();

    /// What gathers every rank's masters: a buffer of all parts of a group, fp32, the own part filled in. Without
    /// masters all parts as they lie here: the parameters themselves, or, of 16 bits, widened.
    torch::Tensor masters(std::size_t group);

    /// The same as the parts of all ranks, padding included: what a gather in place takes.
    PartedView parameter_parts(std::size_t group);

    /// The own slice of a group, in elements of its logical content, and pointers to that slice's first element. State
    /// is null where there is none: in a frozen group, and for moments the optimizer does not keep; so is the fp32
    /// parameter where `rounded` has no master.
    optim::Slice slice(std::size_t group) const;
    optim::SliceBuffers buffers(std::size_t group);

    /// Changes whenever buffers() have been handed out, whose receiver may write to the state there before the next
    /// update.
    std::int64_t handed_out() const { return handed_out_; }

    /// The own slices of all live groups, ready for the fused update.
    std::vector<optim::UpdateSpan> spans();

    /// Updates a group has had. Bias correction counts from there, so it is the group's own.
    std::vector<std::int64_t>& group_steps() { return group_steps_; }
    const std::vector<std::int64_t>& group_steps() const { return group_steps_; }

    /// Bytes really allocated on this rank; equal to optim::memory_per_rank.
    optim::RankMemory memory() const;

  private:
    struct Place {
        bool live = false;
        bool holds_state = false;
        std::int64_t parameter = 0;         // offset of the group in the parameter arena
        std::int64_t gradient = 0;          // the same in the gradient arena, of a live group
        std::int64_t sums = 0;              // of the own slice in the arena of sums, of a live group
        torch::Tensor master;               // own slice; undefined where the plan keeps none
        torch::Tensor exp_avg, exp_avg_sq;  // own slice; undefined where there is none
    };

    /// A tensor of the model and where it belongs. `grad` is null in a frozen group.
    struct Binding {
        std::string name;
        torch::Tensor parameter;
        std::size_t group = 0;
        const optim::Segment* segment = nullptr;
        const void* home = nullptr;
        const void* grad = nullptr;
    };

    bool whole_gradients() const { return plan_.zero_stage == 1; }
    optim::Slice sums_in(const Binding& binding) const;
    void lay_out_parameters();
    void fill(std::size_t group, const optim::Segment& segment, const torch::Tensor& values);
    void lay_out_gradients();
    void settle_state(std::size_t group, std::int64_t step);
    void bind_gradients();
    void bind(const NamedParameters& parameters);
    void bind(const std::string& name, const torch::Tensor& parameter, std::size_t group,
              const optim::Segment& segment);

    torch::Tensor zeros(std::int64_t elements, torch::ScalarType type = torch::kFloat32) const {
        return torch::zeros({elements}, torch::TensorOptions(type).device(device_));
    }

    const optim::Plan& plan_;
    int owner_;
    torch::Device device_;
    Memory memory_kind_;
    const optim::Stage* stage_ = nullptr;  // what gradients and state are laid out for
    std::int64_t layout_ = 0;
    std::int64_t handed_out_ = 0;
    std::vector<Place> places_;
    std::vector<std::int64_t> group_steps_;
    std::vector<Binding> bindings_;
    torch::Tensor parameters_;
    torch::Tensor gradients_;  // empty under stage 2
    torch::Tensor sums_;       // empty where the plan keeps none
    bool sums_hold_ = false;
    std::unique_ptr<GradientWatch> watch_;
};

}  // namespace strata::dist
