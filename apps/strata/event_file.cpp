#include "apps/strata/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string>

#include "core/file.h"

namespace strata::app {
namespace fs = std::filesystem;
namespace {

double wall_time() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The clock's seconds, or what comes after the newest file's where two starts fall into one second or clocks differ.
std::int64_t seconds_for_name(const fs::path& folder) {
    auto seconds = static_cast<std::int64_t>(wall_time());
    for (const auto& entry : fs::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        if (!name.starts_with(event_file_prefix)) continue;
        std::int64_t earlier = 0;
        std::from_chars(name.data() + event_file_prefix.size(), name.data() + name.size(), earlier);
        seconds = std::max(seconds, earlier + 1);
    }
    return seconds;
}

}  // namespace

EventFile::EventFile(const fs::path& folder, std::int64_t first_step) {
    char host[256] = "";
    ::gethostname(host, sizeof(host) - 1);
    path_ = folder / fmt::format("{}{:010}.{}.{}", event_file_prefix, seconds_for_name(folder), host, ::getpid());
    append_to_file(path_, version_record(wall_time()) + start_record(wall_time(), first_step));
}

void EventFile::append(std::int64_t step, std::span<const Scalar> scalars) const {
    append_to_file(path_, scalars_record(wall_time(), step, scalars));
}

}  // namespace strata::app
