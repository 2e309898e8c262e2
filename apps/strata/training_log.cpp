#include "apps/strata/training_log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace strata::app {
namespace {

nlohmann::json object_of(const std::vector<std::pair<std::string, double>>& pairs) {
    nlohmann::json object = nlohmann::json::object();
    for (const auto& [name, value] : pairs) object[name] = value;
    return object;
}

nlohmann::json object_of(const optim::ReplayCounts& counts) {
    return {{"direct", counts.direct},
            {"captured", counts.recorded},
            {"replayed", counts.replayed},
            {"dropped", counts.dropped}};
}

/// Each group's rate, or, of more groups than a line has room for, the least and the greatest of those that train.
std::string rates_text(const std::vector<std::pair<std::string, double>>& rates) {
    constexpr std::size_t most_in_a_line = 4;
    std::string text;
    if (rates.size() <= most_in_a_line) {
        for (const auto& [group, rate] : rates) text += fmt::format(" {}={:.3g}", group, rate);
        return text;
    }
    const std::pair<std::string, double>* least = nullptr;
    const std::pair<std::string, double>* greatest = nullptr;
    for (const auto& rate : rates) {
        if (rate.second == 0) continue;
        if (least == nullptr || rate.second < least->second) least = &rate;
        if (greatest == nullptr || rate.second > greatest->second) greatest = &rate;
    }
    if (least == nullptr) return " 0";
    if (least->second == greatest->second) return fmt::format(" {:.3g}", least->second);
    return fmt::format(" {}={:.3g} to {}={:.3g}", least->first, least->second, greatest->first, greatest->second);
}

std::string compact(double count) {
    return count < 10000 ? fmt::format("{:.0f}", count) : fmt::format("{:.1f}k", count / 1000);
}

}  // namespace

nlohmann::json to_json(const StepRecord& record) {
    nlohmann::json line = {
        {"step", record.step},
        {"epoch", record.epoch},
        {"loss", record.loss},
        {"mean_loss", record.mean_loss},
        {"grad_norm", record.grad_norm},
        {"tokens_per_second", record.tokens_per_second},
        {"lr", object_of(record.learning_rates)},
        {"group_grad_norm", object_of(record.group_grad_norms)},
        {"group_weight_norm", object_of(record.group_weight_norms)},
        {"group_update_ratio", object_of(record.group_update_ratios)},
        {"seconds", object_of(record.phase_seconds)},
        {"bytes_sent", record.bytes_sent},
        {"optimizer_bytes", record.optimizer_bytes},
    };
    if (!record.stage.empty()) line["stage"] = record.stage;
    if (record.save_seconds > 0) line["save_seconds"] = record.save_seconds;
    if (record.loss_scale) line["loss_scale"] = *record.loss_scale;
    if (record.skipped_steps > 0) line["skipped_steps"] = record.skipped_steps;
    if (record.replays != optim::ReplayCounts()) line["cuda_graph"] = object_of(record.replays);
    if (record.pass_replays != optim::ReplayCounts()) line["cuda_graph"]["passes"] = object_of(record.pass_replays);
    return line;
}

std::string log_line(const StepRecord& record) {
    std::string phases;
    for (const auto& [phase, seconds] : record.phase_seconds) phases += fmt::format(" {}={:.1f}", phase, seconds * 1e3);
    const std::string stage = record.stage.empty() ? "" : fmt::format(" | stage {}", record.stage);
    std::string text =
        fmt::format("step {}/{}{} | epoch {:.2f} | loss {:.4f} | grad_norm {:.3f} | {} tok/s | ms{} | lr{}",
                    record.step, record.total_steps, stage, record.epoch, record.mean_loss, record.grad_norm,
                    compact(record.tokens_per_second), phases, rates_text(record.learning_rates));
    if (record.skipped_steps > 0)
        text += fmt::format(" | {} updates skipped (gradient not finite)", record.skipped_steps);
    return text;
}

std::string clock_text(double seconds) {
    const auto whole = static_cast<std::int64_t>(std::max(0.0, seconds));
    const auto minutes = whole / 60 % 60;
    if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, minutes, whole % 60);
    return fmt::format("{:02}:{:02}", minutes, whole % 60);
}

Progress::Mode Progress::mode_of(const std::string& name, int rank) {
    if (rank != 0 || name == "off") return Mode::off;
    if (name == "bar") return Mode::bar;
    return name == "auto" && isatty(STDERR_FILENO) == 1 ? Mode::bar : Mode::lines;
}

Progress::Progress(Mode mode, std::string what, std::int64_t total)
    : mode_(mode), what_(std::move(what)), total_(total) {}

Progress::~Progress() {
    wipe();
}

void Progress::advance(std::int64_t done, const std::string& note) {
    if (first_ < 0) first_ = done - 1;
    done_ = done;
    note_ = note;
    const auto now = Clock::now();
    if (mode_ != Mode::bar || (now - drawn_ < std::chrono::milliseconds(100) && done < total_)) return;
    drawn_ = now;
    draw();
}

void Progress::line(const std::string& text) {
    if (mode_ == Mode::off) return;
    wipe();
    std::fprintf(stdout, "%s\n", text.c_str());
    std::fflush(stdout);
    if (mode_ == Mode::bar && done_ > 0 && done_ < total_) draw();
}

void Progress::warn(const std::string& text) {
    wipe();
    std::fprintf(stderr, "strata: %s\n", text.c_str());
    std::fflush(stderr);
}

void Progress::draw() {
    constexpr int width = 28;
    const double share = total_ > 0 ? static_cast<double>(done_) / static_cast<double>(total_) : 1.0;
    const int filled = static_cast<int>(share * width);
    const double elapsed = std::chrono::duration<double>(Clock::now() - began_).count();
    const double left =
        elapsed / static_cast<double>(std::max<std::int64_t>(1, done_ - first_)) * static_cast<double>(total_ - done_);
    std::string bar;
    for (int i = 0; i < width; ++i) bar += i < filled ? "━" : "╌";
    std::fprintf(stderr, "\r\033[K%s %s %3.0f%% %lld/%lld [%s<%s] %s", what_.c_str(), bar.c_str(), share * 100,
                 static_cast<long long>(done_), static_cast<long long>(total_), clock_text(elapsed).c_str(),
                 clock_text(left).c_str(), note_.c_str());
    std::fflush(stderr);
    visible_ = true;
}

void Progress::wipe() {
    if (!visible_) return;
    std::fprintf(stderr, "\r\033[K");
    std::fflush(stderr);
    visible_ = false;
}

}  // namespace strata::app
