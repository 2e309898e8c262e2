// What `strata bench step` has measured, for people and for programs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "apps/strata/step_bench.h"

namespace strata::app {

std::string step_bench_text(const StepBench& bench);

/// {ranks, threads, precision, parameters, samples_per_step, tokens_per_step, steps, tokens_per_second: {median, least,
/// most}, seconds: {input, forward, backward, reduce, update, gather, other, whole}, processor_seconds, operators:
/// [{part, name, seconds, calls}], limit: {operations, operations_per_second, seconds, tokens_per_second, reached},
/// memory: {peak_bytes, planned_bytes, process_bytes, activation_bytes, tensor_bytes, page_faults}}.
nlohmann::json step_bench_json(const StepBench& bench);

}  // namespace strata::app
