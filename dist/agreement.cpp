#include "dist/agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>

namespace strata::dist {
namespace {

std::string first_line(const std::string& text, std::size_t number) {
    std::istringstream lines(text);
    std::string line;
    for (std::size_t i = 0; i <= number; ++i) {
        if (!std::getline(lines, line)) return "nothing";
    }
    return line;
}

/// Where two texts first differ, in words: "seed = 1" against "seed = 2".
std::string first_difference(const std::string& own, const std::string& others) {
    const auto place = std::mismatch(own.begin(), own.end(), others.begin(), others.end()).first;
    const auto number = static_cast<std::size_t>(std::count(own.begin(), place, '\n'));
    return fmt::format("'{}' against '{}'", first_line(own, number), first_line(others, number));
}

/// The value that most ranks bring; of equals, the one of the lowest rank.
std::string majority(const std::vector<std::string>& values) {
    std::map<std::string, std::ptrdiff_t> counts;
    for (const auto& value : values) ++counts[value];
    return *std::max_element(values.begin(), values.end(),
                             [&](const auto& a, const auto& b) { return counts[a] < counts[b]; });
}

/// What a rank tells the others of its error: a letter for the kind, then the message.
std::string report_of(const std::exception_ptr& error) {
    if (!error) return "";
    try {
        std::rethrow_exception(error);
    } catch (const UserError& user) {
        return std::string("u") + user.what();
    } catch (const std::exception& other) {
        return std::string("s") + other.what();
    } catch (...) {
        return "sunknown error";
    }
}

}  // namespace

bool is_agreed(const std::exception& error) {
    return dynamic_cast<const AgreedError*>(&error) != nullptr;
}

std::optional<std::string> difference_of(Communicator& communicator, const std::string& summary) {
    const auto values = communicator.all_gather_bytes(summary);
    const std::string expected = majority(values);
    if (std::all_of(values.begin(), values.end(), [&](const auto& value) { return value == expected; }))
        return std::nullopt;
    const auto hosts = communicator.all_gather_bytes(communicator.host());
    std::string who;
    std::string difference;
    for (std::size_t rank = 0; rank < values.size(); ++rank) {
        if (values[rank] == expected) continue;
        who += fmt::format("{}rank {} on {}", who.empty() ? "" : ", ", rank, hosts[rank]);
        if (difference.empty()) difference = first_difference(values[rank], expected);
    }
    return fmt::format("{} against the others: {}", who, difference);
}

void require_equal_everywhere(Communicator& communicator, const std::string& what, const std::string& summary) {
    if (const auto difference = difference_of(communicator, summary)) {
        throw AgreedUserError(fmt::format("ranks do not agree on {}: {}. Give all ranks the same files and arguments",
                                          what, *difference));
    }
}

void require_equal_everywhere(Communicator& communicator, const std::string& what, std::uint64_t hash) {
    require_equal_everywhere(communicator, what, fmt::format("hash {:016x}", hash));
}

void require_own_devices(Communicator& communicator, const std::optional<DeviceIdentity>& own) {
    require_equal_everywhere(communicator, "the GPU", own ? own->kind : "no GPU");
    const auto devices = communicator.all_gather_bytes(own ? own->uuid : "");
    const auto hosts = communicator.all_gather_bytes(communicator.host());
    std::map<std::string, std::size_t> owners;
    for (std::size_t rank = 0; own && rank < devices.size(); ++rank) {
        const auto [owner, first] = owners.emplace(devices[rank], rank);
        if (first) continue;
        throw AgreedUserError(
            fmt::format("ranks {} and {} on {} share one GPU, {}; start at most one rank a GPU (mpirun --map-by "
                        "ppr:GPUS:node, srun --gpus-per-task=1)",
                        owner->second, rank, hosts[rank], devices[rank]));
    }
}

void agree_on_error(Communicator& communicator, const std::string& what, std::exception_ptr own) {
    if (own) {
        try {
            std::rethrow_exception(own);
        } catch (const std::exception& error) {
            if (is_agreed(error)) throw;
        } catch (...) {
        }
    }
    const auto reports = communicator.all_gather_bytes(report_of(own));
    const auto failed =
        std::find_if(reports.begin(), reports.end(), [](const auto& report) { return !report.empty(); });
    if (failed == reports.end()) return;
    std::string message = failed->substr(1);
    const bool shared =
        std::all_of(reports.begin(), reports.end(), [&](const auto& report) { return report == *failed; });
    const auto hosts = communicator.all_gather_bytes(communicator.host());
    if (!shared) {
        const auto rank = static_cast<std::size_t>(failed - reports.begin());
        message = fmt::format("rank {} on {}, while {}: {}", rank, hosts[rank], what, message);
    }
    if (failed->front() == 'u') throw AgreedUserError(message);
    throw AgreedSystemError(message);
}

}  // namespace strata::dist
