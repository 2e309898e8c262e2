#include "apps/strata/provenance.h"

#include <fmt/format.h>
#include <hdf5.h>
#include <mpi.h>
#include <torch/version.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "apps/strata/threads.h"

namespace strata::app {
namespace {

std::string mpi_version() {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    MPI_Get_library_version(text, &length);
    const std::string version(text, static_cast<std::size_t>(length));
    return version.substr(0, version.find(','));
}

std::string hdf5_version() {
    unsigned major = 0;
    unsigned minor = 0;
    unsigned release = 0;
    H5get_libversion(&major, &minor, &release);
    return fmt::format("{}.{}.{}", major, minor, release);
}

std::string utc_now() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    gmtime_r(&now, &parts);
    char text[32];
    std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

}  // namespace

std::string provenance(const dist::Communicator& communicator) {
    const nlohmann::json json = {
        {"strata", STRATA_VERSION},     {"libtorch", TORCH_VERSION},          {"mpi", mpi_version()},
        {"hdf5", hdf5_version()},       {"host", communicator.host()},        {"time", utc_now()},
        {"ranks", communicator.size()}, {"threads_per_rank", thread_count()},
    };
    return json.dump();
}

}  // namespace strata::app
