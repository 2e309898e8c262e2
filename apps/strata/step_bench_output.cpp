#include "apps/strata/step_bench_output.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "optim/text_table.h"

namespace strata::app {
namespace {

constexpr double least_share = 0.005;  // of a step, for an operator to have a line

std::vector<std::pair<const char*, double>> named_parts(const StepParts& seconds) {
    return {{"input", seconds.input},   {"forward", seconds.forward}, {"backward", seconds.backward},
            {"reduce", seconds.reduce}, {"update", seconds.update},   {"gather", seconds.gather},
            {"other", seconds.other}};
}

std::string milliseconds(double seconds) {
    return fmt::format("{:.2f}", 1e3 * seconds);
}

std::string percent(double share) {
    return fmt::format("{:.1f}", 100 * share);
}

std::string part_table(const StepBench& bench) {
    optim::TextTable table({{"part", optim::Align::left}, {"ms", optim::Align::right}, {"%", optim::Align::right}});
    for (const auto& [name, seconds] : named_parts(bench.seconds))
        table.add_row({name, milliseconds(seconds), percent(seconds / bench.seconds.whole)});
    table.add_rule();
    table.add_row({"step", milliseconds(bench.seconds.whole)});
    return table.text();
}

std::string operator_table(const StepBench& bench) {
    optim::TextTable table({{"part", optim::Align::left},
                            {"operator", optim::Align::left},
                            {"ms", optim::Align::right},
                            {"%", optim::Align::right},
                            {"calls", optim::Align::right}});
    double rest = 0;
    for (const OperatorTime& time : bench.operators) {
        const double share = time.seconds / bench.profiled_seconds;
        if (share < least_share) {
            rest += time.seconds;
            continue;
        }
        table.add_row({time.part.empty() ? "other" : time.part, time.name.empty() ? "(itself)" : time.name,
                       milliseconds(time.seconds), percent(share), fmt::format("{}", time.calls)});
    }
    table.add_row({"", "all others", milliseconds(rest), percent(rest / bench.profiled_seconds)});
    return table.text();
}

/// More than all of it means that others had the processor while the one product was measured.
std::string limit_text(const StepBench& bench) {
    const bool disturbed = bench.least_seconds() > bench.seconds.whole;
    return fmt::format(
        "Arithmetic: {:.2f} GFLOP a step in matrix products; one large {} product runs at {:.0f} GFLOP/s here,\n"
        "so no step is shorter than {} ms ({:.0f} tokens/s): {} % of that speed is reached.{}\n",
        bench.operations * 1e-9, bench.precision, bench.operations_per_second * 1e-9,
        milliseconds(bench.least_seconds()), bench.tokens / bench.least_seconds(),
        percent(bench.least_seconds() / bench.seconds.whole),
        disturbed ? "\nThat cannot be: something else took the processor meanwhile; measure again." : "");
}

std::string memory_text(const StepBench& bench) {
    const auto peak = static_cast<double>(bench.memory_peak), planned = static_cast<double>(bench.memory_planned);
    return fmt::format(
        "Memory of a rank: {} at the peak; the plan says ~{}, {} of it for the process itself: {:.2f} of it.\n"
        "Tensors within a step: {} at their peak; the plan says ~{}. {:.0f} page faults a step.\n",
        optim::byte_text(bench.memory_peak), optim::byte_text(bench.memory_planned), optim::byte_text(bench.process),
        peak / planned, optim::byte_text(bench.tensors_taken), optim::byte_text(bench.activations), bench.page_faults);
}

}  // namespace

std::string step_bench_text(const StepBench& bench) {
    std::string text = fmt::format(
        "{} rank(s) of {} thread(s), {}: {} parameters; {} samples and {:.0f} tokens a step; the middle half of {} "
        "steps\n\n",
        bench.ranks, bench.threads, bench.precision, optim::grouped_digits(bench.parameters), bench.samples,
        bench.tokens, bench.steps);
    text += part_table(bench);
    text += fmt::format("\n{:.0f} tokens/s ({:.0f} to {:.0f}); {} ms of a rank's processors a step\n\n",
                        bench.tokens_per_second.median, bench.tokens_per_second.least, bench.tokens_per_second.most,
                        milliseconds(bench.processor_seconds));
    text += fmt::format("Within it, on rank 0, under a profile ({} ms a step); each by what it spends itself:\n\n",
                        milliseconds(bench.profiled_seconds));
    return text + operator_table(bench) + "\n" + limit_text(bench) + memory_text(bench);
}

nlohmann::json step_bench_json(const StepBench& bench) {
    nlohmann::json seconds = {{"whole", bench.seconds.whole}};
    for (const auto& [name, value] : named_parts(bench.seconds)) seconds[name] = value;
    nlohmann::json operators = nlohmann::json::array();
    for (const OperatorTime& time : bench.operators) {
        operators.push_back(
            {{"part", time.part}, {"name", time.name}, {"seconds", time.seconds}, {"calls", time.calls}});
    }
    const Spread& speed = bench.tokens_per_second;
    return {{"ranks", bench.ranks},
            {"threads", bench.threads},
            {"precision", bench.precision},
            {"parameters", bench.parameters},
            {"samples_per_step", bench.samples},
            {"tokens_per_step", bench.tokens},
            {"steps", bench.steps},
            {"tokens_per_second", {{"median", speed.median}, {"least", speed.least}, {"most", speed.most}}},
            {"seconds", seconds},
            {"processor_seconds", bench.processor_seconds},
            {"operators", operators},
            {"limit",
             {{"operations", bench.operations},
              {"operations_per_second", bench.operations_per_second},
              {"seconds", bench.least_seconds()},
              {"tokens_per_second", bench.tokens / bench.least_seconds()},
              {"reached", bench.least_seconds() / bench.seconds.whole}}},
            {"memory",
             {{"peak_bytes", bench.memory_peak},
              {"planned_bytes", bench.memory_planned},
              {"process_bytes", bench.process},
              {"activation_bytes", bench.activations},
              {"tensor_bytes", bench.tensors_taken},
              {"page_faults", bench.page_faults}}}};
}

}  // namespace strata::app
