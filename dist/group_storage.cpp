#include "dist/group_storage.h"

#include <unordered_map>

#include "core/error.h"

namespace strata::dist {
namespace {

torch::Tensor arena_view(const torch::Tensor& arena, std::int64_t base, const optim::Segment& segment) {
    return arena.narrow(0, base + segment.offset, segment.elements).view(segment.shape);
}

}  // namespace

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
    STRATA_CHECK(by_name.size() == parameters.size(), "two parameters of the model have the same name");
    // Where a tensor lies before it moves: how another name of the same memory is recognised.
    std::unordered_map<const void*, std::pair<std::size_t, const optim::Segment*>> claimed;
    std::vector<const void*> origins;
    for (const auto& [name, parameter] : parameters) origins.push_back(parameter.const_data_ptr());
    for (std::size_t group = 0; group < places_.size(); ++group) {
        for (const optim::Segment& segment : plan_.groups[group].segments) {
            const auto found = by_name.find(segment.name);
            STRATA_CHECK(found != by_name.end(), "the model has no parameter {}", segment.name);
            const auto [first, fresh] = claimed.try_emplace(found->second.const_data_ptr(), group, &segment);
            STRATA_CHECK(fresh, "{} and {} are one tensor, but the plan has both", segment.name,
                         first->second.second->name);
            const torch::Tensor home = arena_view(parameters_, places_[group].parameter, segment);
            STRATA_CHECK(found->second.sizes() == segment.shape && found->second.scalar_type() == torch::kFloat32,
                         "{} is not fp32 of the planned shape", segment.name);
            home.copy_(found->second);
        }
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        const auto found = claimed.find(origins[i]);
        STRATA_CHECK(found != claimed.end(), "the plan has no parameter {}", parameters[i].first);
        bind(parameters[i].first, parameters[i].second, found->second.first, *found->second.second);
    }
}

void GroupStorage::bind(const std::string& name, torch::Tensor parameter, std::size_t group,
                        const optim::Segment& segment) {
    STRATA_CHECK(parameter.sizes() == segment.shape, "{} shares {}'s memory in another shape", name, segment.name);
    Binding binding{name, parameter};
    const torch::Tensor home = arena_view(parameters_, places_[group].parameter, segment);
    parameter.set_data(home);
    parameter.set_requires_grad(live(group));
    parameter.mutable_grad() = torch::Tensor();
    binding.home = home.const_data_ptr();
    if (live(group)) {
        parameter.mutable_grad() = arena_view(gradients_, places_[group].gradient, segment);
        binding.grad = parameter.grad().const_data_ptr();
    }
    bindings_.push_back(std::move(binding));
}

void GroupStorage::require_bound() const {
    for (const Binding& binding : bindings_) {
        const torch::Tensor& grad = binding.parameter.grad();
        STRATA_CHECK(binding.parameter.const_data_ptr() == binding.home, "{} was moved out of its storage",
                     binding.name);
        STRATA_CHECK((grad.defined() ? grad.const_data_ptr() : nullptr) == binding.grad,
                     "the gradient of {} was dropped or replaced; use zero_gradients()", binding.name);
    }
}

void GroupStorage::zero_gradients() {
    gradients_.zero_();
}

std::span<float> GroupStorage::gradients() {
    return {gradients_.data_ptr<float>(), static_cast<std::size_t>(gradients_.numel())};
}

std::span<float> GroupStorage::parameters(std::size_t group) {
    return {parameters_.data_ptr<float>() + places_[group].parameter,
            static_cast<std::size_t>(plan_.groups[group].elements)};
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
