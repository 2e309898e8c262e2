// A configuration file, and the plan it makes for a small model.
#include "apps/strata/options.h"
#include "apps/strata/precision.h"
#include "apps/strata/train_plan.h"
#include "tests/fuzz/scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    using namespace strata;
    static const optim::Manifest manifest = {
        {"bert.embeddings.word_embeddings.weight", {8, 4}},
        {"bert.encoder.layer.0.output.dense.weight", {4, 4}},
        {"bert.encoder.layer.0.output.dense.bias", {4}},
        {"bert.encoder.layer.1.output.dense.weight", {4, 4}},
        {"bert.pooler.dense.weight", {4, 4}},
        {"classifier.weight", {2, 4}},
    };
    const auto path = fuzz::scratch().write("run.toml", std::string(fuzz::text_of(bytes, size)));
    const char* const arguments[] = {"strata", "plan", "--config", path.c_str()};
    fuzz::allow_refusal([&] {
        app::Config config = app::parse_command_line(std::size(arguments), arguments).config;
        app::to_toml(config, app::command_plan, true);
        app::settle_precision(config, {});
        const auto length = app::run_length(config, 160, 1);
        const optim::Plan plan = app::make_train_plan(config, manifest, length, 1);
        STRATA_CHECK(plan.elements() > 0, "a plan of nothing");
        for (const std::int64_t step : {std::int64_t{0}, plan.total_steps / 2, plan.total_steps - 1}) {
            for (std::size_t group = 0; group < plan.groups.size(); ++group) plan.learning_rate(group, step);
        }
    });
    return 0;
}
