#include "apps/strata/options.h"

#include "apps/strata/option_topics.h"

namespace strata::app {
namespace {

std::vector<Option> all_options() {
    std::vector<Option> all;
    for (const auto add_topic :
         {add_model_options, add_data_options, add_run_options, add_optimizer_options, add_group_options,
          add_range_test_options, add_measurement_options, add_reporting_options, add_output_options,
          add_report_options, add_checkpoint_options}) {
        add_topic(all);
    }
    return all;
}

}  // namespace

const std::vector<Option>& option_table() {
    static const std::vector<Option> table = all_options();
    return table;
}

const Option* find_option(std::string_view name) {
    for (const auto& option : option_table()) {
        if (option.name == name || (!option.alias.empty() && option.alias == name)) return &option;
    }
    return nullptr;
}

}  // namespace strata::app
