#include "apps/strata/schedule_keys.h"

#include <fmt/format.h>

#include "optim/schedule.h"

namespace strata::app {
namespace {

using Type = optim::ScheduleOption::Type;

/// The figure as a value of its type, unset where it is not given.
Value value_of(const ScheduleFigures& figures, const optim::ScheduleOption& option) {
    const auto found = figures.find(option.name);
    const bool set = found != figures.end();
    switch (option.type) {
        case Type::whole:
            return set ? std::optional(static_cast<std::int64_t>(found->second)) : std::optional<std::int64_t>();
        case Type::flag:
            return set ? std::optional(found->second != 0.0) : std::optional<bool>();
        case Type::real:
            break;
    }
    return set ? std::optional(found->second) : std::optional<double>();
}

void set_figure(ScheduleFigures& figures, const optim::ScheduleOption& option, const Value& value) {
    switch (option.type) {
        case Type::whole:
            figures[std::string(option.name)] =
                static_cast<double>(std::get<std::optional<std::int64_t>>(value).value());
            return;
        case Type::flag:
            figures[std::string(option.name)] = std::get<std::optional<bool>>(value).value() ? 1.0 : 0.0;
            return;
        case Type::real:
            figures[std::string(option.name)] = std::get<std::optional<double>>(value).value();
            return;
    }
}

std::string default_text(const optim::ScheduleOption& option, double value) {
    if (option.type == Type::flag) return value != 0.0 ? "true" : "false";
    return option.type == Type::whole && value < option.low ? "must be set" : fmt::format("{}", value);
}

/// "one_cycle, one_cycle_torch: share of …; default 0.25, 0.3".
std::string help_of(const optim::ScheduleOption& option) {
    std::string kinds;
    std::vector<std::string> defaults;
    for (std::size_t kind = 0; kind < option.defaults.size(); ++kind) {
        if (!option.defaults[kind]) continue;
        kinds += fmt::format("{}{}", kinds.empty() ? "" : ", ", optim::schedule_names[kind]);
        const std::string text = default_text(option, *option.defaults[kind]);
        if (defaults.empty() || defaults.back() != text) defaults.push_back(text);
    }
    return fmt::format("{}: {}; {}{}", kinds, option.help, defaults[0] == "must be set" ? "" : "default ",
                       fmt::join(defaults, ", "));
}

}  // namespace

template <typename S>
std::vector<ScheduleKey<S>> schedule_keys(ScheduleFigures S::*figures) {
    std::vector<ScheduleKey<S>> keys;
    for (const optim::ScheduleOption& option : optim::schedule_options()) {
        Slot<S> slot([figures, &option](const S& from) { return value_of(from.*figures, option); },
                     [figures, &option](S& to, const Value& value) { set_figure(to.*figures, option, value); });
        std::string hint = type_hint(value_of({}, option));
        keys.push_back({std::string(option.name), std::move(slot), std::move(hint), help_of(option)});
    }
    return keys;
}

template std::vector<ScheduleKey<Config>> schedule_keys(ScheduleFigures Config::*);
template std::vector<ScheduleKey<StageTable>> schedule_keys(ScheduleFigures StageTable::*);

}  // namespace strata::app
