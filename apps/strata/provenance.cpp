#include "apps/strata/provenance.h"

#include <ATen/Version.h>
#include <fmt/format.h>
#include <hdf5.h>
#include <mpi.h>
#include <torch/version.h>

#include <bit>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/strata/threads.h"
#include "dist/checksums.h"

namespace strata::app {
namespace {

std::string mpi_version() {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    MPI_Get_library_version(text, &length);
    const std::string version(text, static_cast<std::size_t>(length));
    return version.substr(0, version.find(','));
}

/// Of the headers, and the library refuses to work with others: asking it would meet a save in the background.
std::string hdf5_version() {
    return fmt::format("{}.{}.{}", H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE);
}

std::string utc_now() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    gmtime_r(&now, &parts);
    char text[32];
    std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

/// Of this program's file, whatever became of its name.
std::string program_hash() {
    return dist::hash_file("/proc/self/exe");
}

std::string processor() {
    std::ifstream lines("/proc/cpuinfo");
    for (std::string line; std::getline(lines, line);) {
        const auto colon = line.find(": ");
        if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
    }
    return "unknown processor";
}

}  // namespace

std::string program_text() {
    return fmt::format("strata {}\nprogram file {}\nLibTorch {}\n{}\nHDF5 {}\nwords of {} bits, {}\n", STRATA_VERSION,
                       program_hash(), TORCH_VERSION, mpi_version(), hdf5_version(), 8 * sizeof(void*),
                       std::endian::native == std::endian::little ? "little-endian" : "big-endian");
}

std::string arithmetic_text() {
    return fmt::format("{}, {}", processor(), at::get_cpu_capability());
}

std::string provenance(const dist::Communicator& communicator) {
    const nlohmann::json json = {
        {"strata", STRATA_VERSION},       {"libtorch", TORCH_VERSION},          {"mpi", mpi_version()},
        {"hdf5", hdf5_version()},         {"host", communicator.host()},        {"time", utc_now()},
        {"ranks", communicator.size()},   {"threads_per_rank", thread_count()}, {"program_xxh3", program_hash()},
        {"processor", arithmetic_text()},
    };
    return json.dump();
}

}  // namespace strata::app
