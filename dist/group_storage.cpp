#include "dist/group_storage.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "core/error.h"

namespace strata::dist {
namespace {

torch::Tensor arena_view(const torch::Tensor& arena, std::int64_t base, const optim::Segment& segment) {
    return arena.narrow(0, base + segment.offset, segment.elements).view(segment.shape);
}

PartedView parts_of(const torch::Tensor& arena, std::int64_t begin, std::int64_t stride, optim::ComputeType type,
                    Memory memory) {
    auto* const first = static_cast<std::byte*>(arena.data_ptr()) + begin * optim::bytes_of(type);
    return {first, stride, stride, element_type(type), memory};
}

}  // namespace

ElementType element_type(optim::ComputeType type) {
    constexpr std::array types{ElementType::float32, ElementType::bfloat16, ElementType::float16};
    return types[static_cast<std::size_t>(type)];
}

torch::ScalarType scalar_type(optim::ComputeType type) {
    constexpr std::array types{torch::kFloat32, torch::kBFloat16, torch::kHalf};
    return types[static_cast<std::size_t>(type)];
}

GroupStorage::GroupStorage(const optim::Plan& plan, const NamedParameters& parameters, int owner,
                           std::optional<Memory> memory, std::unique_ptr<GradientWatch> watch)
    : plan_(plan),
      owner_(owner),
      device_(parameters.empty() ? torch::Device(torch::kCPU) : parameters.front().second.device()),
      memory_kind_(memory.value_or(device_.is_cpu() ? Memory::host : Memory::cuda)),
      places_(plan.groups.size()),
      group_steps_(plan.groups.size(), 0),
      watch_(std::move(watch)) {
    STRATA_CHECK(!watch_ || memory_kind_ == Memory::host, "gradients on a GPU are watched");
    STRATA_CHECK(owner >= 0 && owner < plan.owners(), "owner {} of {}", owner, plan.owners());
    lay_out_parameters();
    bind(parameters);
    enter(0);
}

void GroupStorage::lay_out_parameters() {
    std::int64_t end = 0;
    for (std::size_t group = 0; group < places_.size(); ++group) {
        places_[group].parameter = end;
        end += plan_.padded_elements(group);
        if (plan_.keeps_masters()) places_[group].master = zeros(slice(group).size());
    }
    parameters_ = zeros(end, scalar_type(plan_.compute));
}

void GroupStorage::enter(std::int64_t step) {
    const optim::Stage& stage = plan_.stage_at(step);
    if (&stage == stage_) return;
    stage_ = &stage;
    ++layout_;
    for (std::size_t group = 0; group < places_.size(); ++group) settle_state(group, step);
    for (const optim::Transition& transition : plan_.transitions()) {
        if (transition.step != step || transition.kind != optim::Transition::Kind::reset) continue;
        Place& place = places_[transition.group];
        if (place.exp_avg.defined()) place.exp_avg.zero_();
        if (place.exp_avg_sq.defined()) place.exp_avg_sq.zero_();
        group_steps_[transition.group] = 0;
    }
    lay_out_gradients();
    bind_gradients();
}

/// Allocates or frees the own slice's state. State that is there and stays is not touched.
void GroupStorage::settle_state(std::size_t group, std::int64_t step) {
    Place& place = places_[group];
    const bool holds = plan_.holds_state(group, step);
    if (holds == place.holds_state) return;
    const int moments = holds ? optim::state_tensors(plan_.optimizer) : 0;
    place.holds_state = holds;
    place.exp_avg = moments > 0 ? zeros(slice(group).size()) : torch::Tensor();
    place.exp_avg_sq = moments > 1 ? zeros(slice(group).size()) : torch::Tensor();
    group_steps_[group] = 0;
}

void GroupStorage::lay_out_gradients() {
    std::int64_t whole = 0, own = 0;
    for (std::size_t group = 0; group < places_.size(); ++group) {
        Place& place = places_[group];
        place.live = stage_->trainable[group];
        place.gradient = whole;
        place.sums = own;
        if (!place.live) continue;
        if (whole_gradients()) whole += plan_.padded_elements(group);
        if (plan_.keeps_sums()) own += plan_.slice_stride(group);
    }
    // The old arenas are freed, views and all, before the new ones are made.
    if (watch_) watch_->watch({});
    for (Binding& binding : bindings_) binding.parameter.mutable_grad() = torch::Tensor();
    gradients_ = sums_ = torch::Tensor();
    // Autograd adds 16-bit gradients into an fp32 arena as well as into one of their own type.
    gradients_ = zeros(whole, scalar_type(plan_.gradient_type()));
    sums_ = zeros(own);
    sums_hold_ = false;
}

void GroupStorage::bind_gradients() {
    std::vector<torch::Tensor> bound;
    for (Binding& binding : bindings_) {
        const bool trains = live(binding.group);
        binding.parameter.set_requires_grad(trains);
        binding.grad = nullptr;
        if (!trains || !whole_gradients()) continue;
        binding.parameter.mutable_grad() = arena_view(gradients_, places_[binding.group].gradient, *binding.segment);
        binding.grad = binding.parameter.grad().const_data_ptr();
        bound.push_back(binding.parameter);
    }
    if (watch_) watch_->watch(bound);
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
            STRATA_CHECK(found->second.sizes() == segment.shape && found->second.scalar_type() == torch::kFloat32,
                         "{} is not fp32 of the planned shape", segment.name);
            fill(group, segment, found->second);
        }
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        const auto found = claimed.find(origins[i]);
        STRATA_CHECK(found != claimed.end(), "the plan has no parameter {}", parameters[i].first);
        bind(parameters[i].first, parameters[i].second, found->second.first, *found->second.second);
    }
}

/// A parameter's values (fp32) into the arena, and what of it the rank owns into the master.
void GroupStorage::fill(std::size_t group, const optim::Segment& segment, const torch::Tensor& values) {
    const Place& place = places_[group];
    arena_view(parameters_, place.parameter, segment).copy_(values);
    if (!plan_.keeps_masters()) return;
    const optim::Slice own = slice(group);
    const std::int64_t begin = std::max(own.begin, segment.offset);
    const std::int64_t end = std::min(own.end, segment.offset + segment.elements);
    if (begin >= end) return;
    const torch::Tensor flat = values.detach().reshape({-1}).narrow(0, begin - segment.offset, end - begin);
    place.master.narrow(0, begin - own.begin, end - begin).copy_(flat);
}

void GroupStorage::set_values(const NamedParameters& values) {
    const torch::NoGradGuard no_grad;
    const std::unordered_map<std::string, torch::Tensor> by_name(values.begin(), values.end());
    for (const Binding& binding : bindings_) {
        const auto found = by_name.find(binding.name);
        STRATA_CHECK(found != by_name.end() && found->second.sizes() == binding.segment->shape, "no values of {}",
                     binding.name);
        fill(binding.group, *binding.segment, found->second);
    }
}

void GroupStorage::round_masters() {
    if (!plan_.keeps_masters()) return;
    const torch::NoGradGuard no_grad;
    for (std::size_t group = 0; group < groups(); ++group) {
        const optim::Slice own = slice(group);
        parameters_.narrow(0, places_[group].parameter + own.begin, own.size()).copy_(places_[group].master);
    }
}

torch::Tensor GroupStorage::masters(std::size_t group) {
    const torch::NoGradGuard no_grad;
    const std::int64_t padded = plan_.padded_elements(group);
    if (!plan_.keeps_masters()) return parameters_.narrow(0, places_[group].parameter, padded).to(torch::kFloat32);
    torch::Tensor whole = zeros(padded);
    const optim::Slice own = slice(group);
    whole.narrow(0, own.begin, own.size()).copy_(places_[group].master);
    return whole;
}

GroupStorage::ParameterPlace GroupStorage::place_of(const torch::Tensor& parameter) const {
    for (const Binding& binding : bindings_) {
        if (binding.parameter.is_same(parameter)) return {binding.group, binding.segment->offset};
    }
    STRATA_CHECK(false, "a parameter that lies in no group");
    return {};
}

void GroupStorage::bind(const std::string& name, const torch::Tensor& parameter, std::size_t group,
                        const optim::Segment& segment) {
    STRATA_CHECK(parameter.sizes() == segment.shape, "{} shares {}'s memory in another shape", name, segment.name);
    const torch::Tensor home = arena_view(parameters_, places_[group].parameter, segment);
    parameter.set_data(home);
    parameter.mutable_grad() = torch::Tensor();
    bindings_.push_back({name, parameter, group, &segment, home.const_data_ptr(), nullptr});
}

void GroupStorage::require_bound() const {
    for (const Binding& binding : bindings_) {
        const torch::Tensor& grad = binding.parameter.grad();
        STRATA_CHECK(binding.parameter.const_data_ptr() == binding.home, "{} was moved out of its storage",
                     binding.name);
        STRATA_CHECK((grad.defined() ? grad.const_data_ptr() : nullptr) == binding.grad,
                     "the gradient of {} was dropped, replaced or left behind; use zero_gradients() and "
                     "ZeroOptimizer::backward()",
                     binding.name);
    }
}

void GroupStorage::zero_gradients() {
    sums_hold_ = false;
    if (!watch_) {
        gradients_.zero_();
        return;
    }
    for (const Binding& binding : bindings_) {
        if (binding.grad != nullptr) watch_->start_anew(binding.parameter, sums_in(binding));
    }
}

/// The elements of a parameter's gradient where the last step's sums over ranks have come to.
optim::Slice GroupStorage::sums_in(const Binding& binding) const {
    if (plan_.world_size == 1 || plan_.keeps_sums()) return {};
    const optim::Slice own = slice(binding.group);
    const auto within = [&](std::int64_t element) {
        return std::clamp(element - binding.segment->offset, std::int64_t{0}, binding.segment->elements);
    };
    return {within(own.begin), within(own.end)};
}

void GroupStorage::settle_gradient(const torch::Tensor& parameter) {
    if (watch_) watch_->settle(parameter);
}

std::vector<GroupStorage::LiveParameter> GroupStorage::live_parameters() const {
    std::vector<LiveParameter> parameters;
    for (const Binding& binding : bindings_) {
        if (live(binding.group)) parameters.push_back({binding.parameter, binding.group, binding.segment->offset});
    }
    return parameters;
}

PartedView GroupStorage::gradient_parts(std::size_t group) {
    STRATA_CHECK(live(group) && whole_gradients(), "group {} has no whole gradient", group);
    return parts_of(gradients_, places_[group].gradient, plan_.slice_stride(group), plan_.gradient_type(),
                    memory_kind_);
}

float* GroupStorage::gradient_sums(std::size_t group) {
    STRATA_CHECK(live(group) && plan_.keeps_sums(), "group {} has no sums of gradients", group);
    return sums_.data_ptr<float>() + places_[group].sums;
}

std::span<float> GroupStorage::parameters(std::size_t group) {
    return {parameters_.data_ptr<float>() + places_[group].parameter, static_cast<std::size_t>(elements(group))};
}

PartedView GroupStorage::parameter_parts(std::size_t group) {
    return parts_of(parameters_, places_[group].parameter, plan_.slice_stride(group), plan_.compute, memory_kind_);
}

optim::Slice GroupStorage::slice(std::size_t group) const {
    return plan_.slice(group, owner_);
}

optim::SliceBuffers GroupStorage::buffers(std::size_t group) {
    ++handed_out_;
    const auto pointer = [](const torch::Tensor& state) { return state.defined() ? state.data_ptr<float>() : nullptr; };
    Place& place = places_[group];
    const std::int64_t begin = slice(group).begin;
    const std::int64_t gradient = place.gradient + begin;
    optim::SliceBuffers buffers;
    buffers.type = plan_.compute;
    if (plan_.compute == optim::ComputeType::fp32) {
        buffers.param = parameters_.data_ptr<float>() + place.parameter + begin;
    } else {
        buffers.param = pointer(place.master);
        buffers.rounded = static_cast<std::uint16_t*>(parameters_.data_ptr()) + place.parameter + begin;
    }
    if (live(group) && plan_.keeps_sums()) {
        buffers.grad = gradient_sums(group);
    } else if (live(group) && gradients_.scalar_type() == torch::kFloat32) {
        buffers.grad = gradients_.data_ptr<float>() + gradient;
    } else if (live(group)) {
        buffers.grad16 = static_cast<const std::uint16_t*>(gradients_.const_data_ptr()) + gradient;
    }
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
    return optim::build_spans(plan_, owner_, live_groups, slices);
}

optim::RankMemory GroupStorage::memory() const {
    const auto bytes = [](const torch::Tensor& tensor) {
        return tensor.defined() ? static_cast<std::int64_t>(tensor.nbytes()) : std::int64_t{0};
    };
    optim::RankMemory memory{bytes(parameters_), bytes(gradients_) + bytes(sums_)};
    for (const Place& place : places_) {
        memory.state_bytes += bytes(place.master) + bytes(place.exp_avg) + bytes(place.exp_avg_sq);
    }
    return memory;
}

}  // namespace strata::dist
