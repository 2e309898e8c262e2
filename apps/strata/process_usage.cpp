#include "apps/strata/process_usage.h"

#include <sys/resource.h>

#include <ctime>
#include <fstream>
#include <string>

namespace strata::app {
namespace {

/// A line "VmRSS:   1234 kB" of the kernel's; 0 where it is not there.
std::int64_t status_bytes(const std::string& name) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(name + ":")) return std::stoll(line.substr(name.size() + 1)) * 1024;
    }
    return 0;
}

}  // namespace

std::int64_t peak_resident_bytes() {
    return status_bytes("VmHWM");
}

void forget_peak() {
    std::ofstream("/proc/self/clear_refs") << "5\n";  // proc(5)
}

std::int64_t page_faults() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

double processor_seconds() {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace strata::app
