#include "dist/slice_update_cuda.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "optim/segment_table.h"
#include "optim/shard.h"

namespace strata::dist {
namespace {

/// The copy has left the host's memory when this returns: CUDA stages what is not pinned.
template <typename Value>
Value* upload(optim::DeviceMemory& memory, std::span<const Value> values, CUstream_st* stream) {
    auto* const data = reinterpret_cast<Value*>(memory.at_least(std::max<std::size_t>(values.size_bytes(), 1)));
    optim::copy_bytes(data, values.data(), values.size_bytes(), stream);
    return data;
}

template <typename Value>
void download(std::span<Value> values, const void* data, CUstream_st* stream) {
    optim::copy_bytes(values.data(), data, values.size_bytes(), stream);
    optim::wait_for(stream);
}

/// Neighbours of one group whose gradients touch, as one span of gradients: the runs of optim::square_sums_cpu.
std::vector<optim::UpdateSpan> gradient_runs(const std::vector<optim::UpdateSpan>& spans) {
    const auto begin = [](const optim::UpdateSpan& span) {
        return span.grad16 != nullptr ? static_cast<const void*>(span.grad16) : span.grad;
    };
    const auto end = [](const optim::UpdateSpan& span) {
        return span.grad16 != nullptr ? static_cast<const void*>(span.grad16 + span.elements)
                                      : span.grad + span.elements;
    };
    std::vector<optim::UpdateSpan> runs;
    for (const optim::UpdateSpan& span : spans) {
        if (!runs.empty() && runs.back().group == span.group && end(runs.back()) == begin(span)) {
            runs.back().elements += span.elements;
            continue;
        }
        runs.push_back(span);
        // Tiles are laid out by the parameter's alignment, which these sums do not read.
        runs.back().param = const_cast<float*>(span.grad);
        runs.back().exp_avg = runs.back().exp_avg_sq = nullptr;
        runs.back().rounded = nullptr;
    }
    return runs;
}

optim::TileBins bins_at(optim::DeviceMemory& memory, std::size_t count) {
    return {reinterpret_cast<const std::int64_t*>(memory.at_least(0)), static_cast<std::int64_t>(count)};
}

}  // namespace

void CudaSliceUpdate::Table::fill(const std::vector<optim::UpdateSpan>& from, CUstream_st* stream) {
    const std::vector<std::int64_t> tiles = optim::first_tiles(from);
    upload<optim::UpdateSpan>(spans, from, stream);
    upload<std::int64_t>(first_tiles, tiles, stream);
    span_count = static_cast<std::int64_t>(from.size());
    tile_count = tiles.back();
    tile_sums.at_least(static_cast<std::size_t>(tile_count) * sizeof(optim::SumPair) + 1);
}

optim::UpdateTables CudaSliceUpdate::Table::tables(bool measures) {
    optim::UpdateTables tables;
    tables.spans = reinterpret_cast<const optim::UpdateSpan*>(spans.at_least(0));
    tables.first_tiles = reinterpret_cast<const std::int64_t*>(first_tiles.at_least(0));
    tables.span_count = span_count;
    tables.tile_count = tile_count;
    if (measures) tables.tile_sums = reinterpret_cast<optim::SumPair*>(tile_sums.at_least(0));
    return tables;
}

CudaSliceUpdate::CudaSliceUpdate(const optim::Plan& plan, CUstream_st* stream)
    : plan_(plan),
      stream_(stream),
      staging_(sizeof(Sent) + plan.groups.size() * sizeof(optim::GroupHyper)),
      copied_(static_cast<double*>(optim::allocate_pinned((plan.groups.size() + 1) * sizeof(double))),
              [](double* memory) { optim::free_pinned(memory); }) {
    sent_.at_least(sizeof(Sent) + plan.groups.size() * sizeof(optim::GroupHyper));
    control_.at_least(sizeof(optim::UpdateControl));
    decided_from_.at_least((plan.groups.size() + 1) * sizeof(double));
}

void CudaSliceUpdate::lay_out(std::vector<optim::UpdateSpan> spans) {
    const std::vector<optim::UpdateSpan> runs = gradient_runs(spans);
    updated_.fill(spans, stream_);
    summed_.fill(runs, stream_);
    upload<std::int64_t>(updated_bins_, optim::group_bins(spans, plan_.groups.size()), stream_);
    upload<std::int64_t>(summed_bins_, optim::group_bins(runs, plan_.groups.size()), stream_);
    if (plan_.optimizer.kind != optim::OptimizerKind::lamb) return;
    sums_ = static_cast<std::int64_t>(optim::tensor_of_sums(plan_).size());
    upload<std::int64_t>(tensor_bins_, optim::tensor_bins(spans, static_cast<std::size_t>(sums_)), stream_);
    tensor_sums_.at_least(2 * static_cast<std::size_t>(sums_) * sizeof(double));
}

void CudaSliceUpdate::square_sums(std::span<double> per_group) {
    auto* const out = reinterpret_cast<double*>(out_.at_least(per_group.size_bytes()));
    optim::square_sums_cuda(summed_.tables(true), bins_at(summed_bins_, per_group.size()), out, stream_);
    download(per_group, out, stream_);
}

std::vector<double> CudaSliceUpdate::tile_square_sums() {
    static_assert(optim::kernel_tile == optim::deterministic_tile);
    const optim::UpdateTables tables = summed_.tables(true);
    optim::square_sums_cuda(tables, {}, nullptr, stream_);
    std::vector<optim::SumPair> sums(static_cast<std::size_t>(tables.tile_count));
    download(std::span(sums), tables.tile_sums, stream_);
    std::vector<double> firsts;
    for (const optim::SumPair& sum : sums) firsts.push_back(sum.first);
    return firsts;
}

void CudaSliceUpdate::set_control(const optim::UpdateControl& control) {
    upload(control_, std::span(&control, 1), stream_);
}

void CudaSliceUpdate::send(const UpdateTerms& terms) {
    STRATA_CHECK(terms.hypers.size() == plan_.groups.size(), "rates of {} groups", terms.hypers.size());
    static_assert(sizeof(Sent) % alignof(optim::GroupHyper) == 0);
    const Sent head{terms.max_norm, terms.loss};
    std::byte* const block = staging_.next();
    std::memcpy(block, &head, sizeof(head));
    std::memcpy(block + sizeof(head), terms.hypers.data(), terms.hypers.size_bytes());
    staging_.send(sent(), stream_);
    if (terms.loss_there != nullptr) optim::copy_bytes(&sent()->loss, terms.loss_there, sizeof(double), stream_);
}

void CudaSliceUpdate::set_loss_scale(const optim::LossScale& scale) {
    scale_ = upload(scale_memory_, std::span(&scale, 1), stream_);
}

BufferView CudaSliceUpdate::start_sums(bool counts) {
    const std::size_t groups = plan_.groups.size();
    auto* const sums = reinterpret_cast<double*>(decided_from_.at_least(0));
    if (counts) {
        optim::square_sums_cuda(summed_.tables(true), bins_at(summed_bins_, groups), sums, stream_);
    } else {
        optim::clear_bytes(sums, groups * sizeof(double), stream_);
    }
    optim::copy_bytes(sums + groups, &sent()->loss, sizeof(double), stream_);
    return {sums, static_cast<std::int64_t>(groups) + 1, ElementType::float64, Memory::cuda};
}

void CudaSliceUpdate::decide() {
    const auto* const sums = reinterpret_cast<const double*>(decided_from_.at_least(0));
    auto* const control = reinterpret_cast<optim::UpdateControl*>(control_.at_least(0));
    const std::size_t groups = plan_.groups.size();
    optim::decide_cuda(sums, static_cast<std::int64_t>(groups), &sent()->max_norm, scale_, control, stream_);
    optim::copy_bytes(copied_.get(), sums, (groups + 1) * sizeof(double), stream_);
}

void CudaSliceUpdate::ended() {
    ended_.record(stream_);
}

std::span<const double> CudaSliceUpdate::sums() {
    ended_.wait();
    return {copied_.get(), plan_.groups.size() + 1};
}

optim::UpdateTables CudaSliceUpdate::tables(const optim::GroupHyper* hypers, bool measures) {
    optim::UpdateTables tables = updated_.tables(measures);
    tables.hypers = hypers;
    tables.control = reinterpret_cast<const optim::UpdateControl*>(control_.at_least(0));
    tables.tensor_sums = reinterpret_cast<const double*>(tensor_sums_.at_least(0));
    return tables;
}

/// At the rates that send() sent.
optim::UpdateTables CudaSliceUpdate::sent_tables(bool measures) {
    return tables(reinterpret_cast<const optim::GroupHyper*>(sent() + 1), measures);
}

optim::UpdateTables CudaSliceUpdate::uploaded_tables(std::span<const optim::GroupHyper> hypers, bool measures) {
    return tables(upload(hypers_, hypers, stream_), measures);
}

void CudaSliceUpdate::telemetry(std::span<optim::GroupTelemetry> telemetry) {
    if (telemetry.empty()) return;
    auto* const out = reinterpret_cast<optim::GroupTelemetry*>(out_.at_least(telemetry.size_bytes()));
    optim::telemetry_cuda(updated_.tables(true), bins_at(updated_bins_, telemetry.size()), out, stream_);
    download(telemetry, out, stream_);
}

void CudaSliceUpdate::update(bool measures) {
    optim::fused_update_cuda(plan_.optimizer.kind, sent_tables(measures), stream_);
}

void CudaSliceUpdate::update(std::span<const optim::GroupHyper> hypers, std::span<optim::GroupTelemetry> telemetry) {
    optim::fused_update_cuda(plan_.optimizer.kind, uploaded_tables(hypers, !telemetry.empty()), stream_);
    this->telemetry(telemetry);
}

BufferView CudaSliceUpdate::start_lamb(bool counts) {
    auto* const sums = reinterpret_cast<double*>(tensor_sums_.at_least(0));
    optim::lamb_moments_cuda(sent_tables(true), bins_at(tensor_bins_, static_cast<std::size_t>(sums_)), sums, stream_);
    if (!counts) optim::clear_bytes(sums, 2 * static_cast<std::size_t>(sums_) * sizeof(double), stream_);
    return {sums, 2 * sums_, ElementType::float64, Memory::cuda};
}

void CudaSliceUpdate::apply_lamb(bool measures) {
    optim::lamb_apply_cuda(sent_tables(measures), stream_);
}

void CudaSliceUpdate::lamb_moments(std::span<const optim::GroupHyper> hypers, std::span<double> tensor_sums) {
    STRATA_CHECK(std::ssize(tensor_sums) == 2 * sums_, "{} sums of {} pieces", tensor_sums.size(), sums_);
    auto* const out = reinterpret_cast<double*>(out_.at_least(tensor_sums.size_bytes()));
    optim::lamb_moments_cuda(uploaded_tables(hypers, true), bins_at(tensor_bins_, static_cast<std::size_t>(sums_)), out,
                             stream_);
    download(tensor_sums, out, stream_);
}

void CudaSliceUpdate::lamb_apply(std::span<const optim::GroupHyper> hypers, std::span<const double> tensor_sums,
                                 std::span<optim::GroupTelemetry> telemetry) {
    upload(tensor_sums_, tensor_sums, stream_);
    optim::lamb_apply_cuda(uploaded_tables(hypers, !telemetry.empty()), stream_);
    this->telemetry(telemetry);
}

double CudaSliceUpdate::square_sum(const optim::UpdateSpan& run) {
    any_.fill(gradient_runs({run}), stream_);
    optim::square_sums_cuda(any_.tables(true), {}, nullptr, stream_);
    std::vector<optim::SumPair> sums(static_cast<std::size_t>(any_.tile_count));
    download(std::span(sums), any_.tile_sums.at_least(0), stream_);
    double total = 0;
    for (const optim::SumPair& sum : sums) total += sum.first;
    return total;
}

}  // namespace strata::dist
