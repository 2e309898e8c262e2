// The fused update: one pass over this rank's slices of every live group, each element at its own group's rate.
//
// A segment table (UpdateSpan) says which group an element is in and whether it decays; a hyperparameter table
// (GroupHyper, one for each group of the plan) holds the rates. The group is never the unit of cost: one call, one
// launch, however many groups there are. Elements are independent, so results depend neither on the number of threads
// nor on how spans are cut, and the CPU and CUDA twins give the same bits.
//
// Where the network computes in 16 bits, the parameter here is its fp32 master; the same pass reads 16-bit gradients
// and writes the rounded parameter: with AdamW 28 bytes an element. Where updates round stochastically there is no
// master, and the bf16 parameter is updated where it lies (stochastic_rounding.h): 22 bytes.
#pragma once

#include "optim/compute_type.h"
#include "optim/plan.h"
#include "optim/update_rule.h"

#include <cstdint>
#include <span>
#include <vector>

namespace strata::optim {

/// A run of elements of one group with one answer to decay, inside one slice.
struct UpdateSpan {
    float* param = nullptr;  // null where updates round stochastically
    const float* grad = nullptr;
    float* exp_avg = nullptr;     // first moment, SGD's momentum buffer; null when the optimizer keeps none
    float* exp_avg_sq = nullptr;  // second moment; null when the optimizer keeps none
    std::int64_t elements = 0;
    std::int32_t group = 0;  // index into the plan's groups
    bool decays = false;
    // Which of LAMB's sums it counts to: its parameter's, all the plan's counted group after group; in a deterministic
    // plan those of its part of it (segment_table.h). Only LAMB looks at it.
    std::int32_t tensor = 0;
    // Where the network computes in `type`, not fp32: where the rounded parameter goes, and 16-bit gradients in place
    // of `grad`. Each may be null (gradients that were added up in fp32 stay in `grad`).
    ComputeType type = ComputeType::fp32;
    std::uint16_t* rounded = nullptr;
    const std::uint16_t* grad16 = nullptr;
    // Where updates round stochastically: `rounded` is the parameter itself, bf16, and all of the span lies in one
    // tensor, which has this key (name_key of its name), from its element `first` on.
    std::uint64_t parameter = 0;
    std::int64_t first = 0;
};

/// What is known only once gradients have been reduced; on a GPU it stays in device memory.
struct UpdateControl {
    float grad_scale = 1.0F;  // clip coefficient x 1 / loss scale, applied to every gradient
    bool finite = true;       // false: nothing is touched
};

class RestingPieces;

/// Sums over the elements that this rank updated; add them across ranks. Roots give ‖Δw‖ and ‖w‖ of a group.
struct GroupTelemetry {
    double update_square_sum = 0.0;  // of new - old parameter
    double weight_square_sum = 0.0;  // of the new parameter
};

/// Updates every element of every span; any optimizer but LAMB. `hypers` has one entry for each group. With `telemetry`
/// (empty, or one entry for each group) also sums squares, in a fixed order whatever the number of threads. When
/// control.finite is false memory is not written and telemetry is zero. `resting`: of these spans (resting_pieces.h),
/// or null; only AdamW looks at it.
void fused_update_cpu(OptimizerKind kind, std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers,
                      const UpdateControl& control, std::span<GroupTelemetry> telemetry = {},
                      RestingPieces* resting = nullptr);

/// LAMB's update has two phases, since its trust ratio needs norms of whole tensors, which straddle slices:
///
///   lamb_moments_cpu   new moments, and for each tensor the square sums of this rank's part of it
///   (the caller)       adds `tensor_sums` up over all ranks: one small all-reduce
///   lamb_apply_cpu     computes every direction again from the new moments and applies it
///
/// `tensor_sums`: [2t] the squares of tensor t's parameters, [2t + 1] of its direction; zero for tensors that have no
/// part here. Every span is of one tensor (build_spans sees to it). The order of summation is fixed whatever the number
/// of threads. When control.finite is false nothing is written but zero sums.
void lamb_moments_cpu(std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers,
                      const UpdateControl& control, std::span<double> tensor_sums);
void lamb_apply_cpu(std::span<const UpdateSpan> spans, std::span<const GroupHyper> hypers, const UpdateControl& control,
                    std::span<const double> tensor_sums, std::span<GroupTelemetry> telemetry = {});

/// Square sums of the spans' gradients in double, added up for each group (`per_group` is overwritten), over fixed
/// tiles in a fixed order: the same bits for any number of threads. Neighbouring spans of a group whose gradients touch
/// count as one run, so the bits do not depend on how spans are cut. A sum is not finite exactly if some element is not
/// finite (a float's square cannot overflow a double); returns false when one is not.
bool square_sums_cpu(std::span<const UpdateSpan> spans, std::span<double> per_group);

/// Each tile's sum of squares of the spans' gradients, in their order. Tiles are `tile` elements of a run of touching
/// spans of one group, the last one fewer; their sums depend on what lies in them alone.
std::vector<double> tile_square_sums_cpu(std::span<const UpdateSpan> spans, std::int64_t tile);

/// Elements in one tile of the sums and of the update.
inline constexpr std::int64_t tile_elements = 16384;

}  // namespace strata::optim
