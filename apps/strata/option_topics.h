// What the table of options is made of: one function a topic, in the order of --help.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "apps/strata/options.h"

namespace strata::app {

inline constexpr unsigned inference_commands = command_evaluate | command_predict;
/// That make training steps.
inline constexpr unsigned step_commands = command_train | command_lr_find | command_bench_step;
inline constexpr unsigned plan_commands = step_commands | command_plan;
inline constexpr unsigned data_commands = plan_commands | inference_commands;
inline constexpr unsigned model_commands = data_commands | command_tokenize;
inline constexpr unsigned checkpoint_commands =
    command_inspect | command_verify | command_export | command_average | command_diff;

/// Puts options of one topic, whose keys lie in one table of the file, at the end of all.
class OptionTopic {
  public:
    OptionTopic(std::vector<Option>& all, std::string topic, std::string table = "")
        : all_(all), topic_(std::move(topic)), table_(std::move(table)) {}

    /// The new option, until the next one is made.
    Option& operator()(std::string name, Slot<Config> slot, unsigned commands, std::string help) const {
        return all_.emplace_back(Option{
            std::move(name), std::move(slot), commands, topic_, std::move(help), table_, {}, "", nullptr, false});
    }

  private:
    std::vector<Option>& all_;
    std::string topic_;
    std::string table_;
};

void add_model_options(std::vector<Option>& all);
void add_data_options(std::vector<Option>& all);
void add_run_options(std::vector<Option>& all);
void add_optimizer_options(std::vector<Option>& all);
void add_group_options(std::vector<Option>& all);
void add_range_test_options(std::vector<Option>& all);
void add_measurement_options(std::vector<Option>& all);
void add_reporting_options(std::vector<Option>& all);
void add_output_options(std::vector<Option>& all);
void add_report_options(std::vector<Option>& all);
void add_checkpoint_options(std::vector<Option>& all);

}  // namespace strata::app
