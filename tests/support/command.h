// Runs a shell command, and keeps what it says.
#pragma once

#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <string>

namespace strata::testing_support {

struct Outcome {
    int exit_code = -1;
    std::string output;  ///< standard output and error together
    double seconds = 0;
};

inline Outcome run_command(const std::string& command) {
    const auto began = std::chrono::steady_clock::now();
    FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    if (pipe == nullptr) return {};
    Outcome outcome;
    std::array<char, 4096> buffer{};
    for (std::size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
        outcome.output.append(buffer.data(), got);
    }
    const int status = ::pclose(pipe);
    outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    return outcome;
}

/// So many ranks of a program, by the words of `mpirun`. `timeout` gives 124 where one hangs.
inline Outcome run_ranks(const std::string& mpirun, int ranks, const std::string& program,
                         const std::string& environment = "") {
    return run_command(environment + " timeout 60 " + mpirun + " -np " + std::to_string(ranks) + " " + program);
}

/// How often `part` stands in `text`.
inline int count(const std::string& text, const std::string& part) {
    int found = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
}

}  // namespace strata::testing_support
