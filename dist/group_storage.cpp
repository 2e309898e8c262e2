#include "dist/group_storage.h"

#include <unordered_map>

#include "core/error.h"

namespace strata::dist {

GroupStorage::GroupStorage(const optim::Plan& plan, const NamedParameters& parameters, int rank)
    : plan_(plan), rank_(rank), places_(plan.groups.size()), group_steps_(plan.groups.size(), 0) {
    STRATA_CHECK(rank >= 0 && rank < plan.world_size, "rank {} of {}", rank, plan.world_size);
    lay_out();
    bind(parameters);
}

void GroupStorage::lay_out() {
    std::int64_t parameter_end = 0;
    std::int64_t gradient_end = 0;
    const int moments = optim::state_tensors(plan_.optimizer);
    for (std::size_t group = 0; group < places_.size(); ++group) {
        Place& place = places_[group];
        const std::int64_t padded = optim::padded_elements(plan_.groups[group].elements, plan_.world_size);
        place.parameter = parameter_end;
        parameter_end += padded;
        if (!plan_.trainable(group, 0)) continue;
        place.gradient = gradient_end;
        gradient_end += padded;
        if (moments > 0) place.exp_avg = torch::zeros({slice(group).size()});
        if (moments > 1) place.exp_avg_sq = torch::zeros({slice(group).size()});
    }
    parameters_ = torch::zeros({parameter_end});
    gradients_ = torch::zeros({gradient_end});
}

void GroupStorage::bind(const NamedParameters& parameters) {
    const torch::NoGradGuard no_grad;
    std::unordered_map<std::string, torch::Tensor> by_name(parameters.begin(), parameters.end());
    std::size_t bound = 0;
    for (std::size_t group = 0; group < places_.size(); ++group) {
        for (const optim::Segment& segment : plan_.groups[group].segments) {
            const auto found = by_name.find(segment.name);
            STRATA_CHECK(found != by_name.end(), "the model has no parameter {}", segment.name);
            torch::Tensor parameter = found->second;
            STRATA_CHECK(parameter.sizes() == segment.shape && parameter.scalar_type() == torch::kFloat32,
                         "{} is not fp32 of the planned shape", segment.name);
            const auto view = [&](torch::Tensor& arena, std::int64_t base) {
                return arena.narrow(0, base + segment.offset, segment.elements).view(segment.shape);
            };
            const torch::Tensor home = view(parameters_, places_[group].parameter);
            home.copy_(parameter);
            parameter.set_data(home);
            parameter.set_requires_grad(live(group));
            parameter.mutable_grad() = live(group) ? view(gradients_, places_[group].gradient) : torch::Tensor();
            ++bound;
        }
    }
    STRATA_CHECK(bound == parameters.size(), "the plan has {} parameters, the model {}", bound, parameters.size());
}

void GroupStorage::zero_gradients() {
    gradients_.zero_();
}

std::span<float> GroupStorage::gradients() {
    return {gradients_.data_ptr<float>(), static_cast<std::size_t>(gradients_.numel())};
}

PartedView GroupStorage::parameter_parts(std::size_t group) {
    const std::int64_t stride = optim::slice_stride(plan_.groups[group].elements, plan_.world_size);
    return {parameters_.data_ptr<float>() + places_[group].parameter, stride, stride};
}

optim::Slice GroupStorage::slice(std::size_t group) const {
    return optim::slice_of(plan_.groups[group].elements, rank_, plan_.world_size);
}

optim::SliceBuffers GroupStorage::buffers(std::size_t group) {
    const auto pointer = [](const torch::Tensor& state) { return state.defined() ? state.data_ptr<float>() : nullptr; };
    Place& place = places_[group];
    const std::int64_t begin = slice(group).begin;
    optim::SliceBuffers buffers;
    buffers.param = parameters_.data_ptr<float>() + place.parameter + begin;
    if (live(group)) buffers.grad = gradients_.data_ptr<float>() + place.gradient + begin;
    buffers.exp_avg = pointer(place.exp_avg);
    buffers.exp_avg_sq = pointer(place.exp_avg_sq);
    return buffers;
}

std::vector<optim::UpdateSpan> GroupStorage::spans() {
    std::vector<bool> live_groups;
    std::vector<optim::SliceBuffers> slices;
    for (std::size_t group = 0; group < groups(); ++group) {
        live_groups.push_back(live(group));
        slices.push_back(buffers(group));
    }
    return optim::build_spans(plan_, rank_, live_groups, slices);
}

optim::RankMemory GroupStorage::memory() const {
    const auto bytes = [](const torch::Tensor& tensor) {
        return tensor.defined() ? static_cast<std::int64_t>(tensor.nbytes()) : std::int64_t{0};
    };
    optim::RankMemory memory{bytes(parameters_), bytes(gradients_), 0};
    for (const Place& place : places_) memory.state_bytes += bytes(place.exp_avg) + bytes(place.exp_avg_sq);
    return memory;
}

}  // namespace strata::dist
