#include "tests/distributed/job.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <system_error>
#include <thread>

namespace strata::testing_support {
namespace fs = std::filesystem;
namespace {

std::vector<std::string> command(int ranks, const std::vector<std::string>& arguments, const std::string& program) {
    std::vector<std::string> words;
    if (ranks > 0)
        words = {"mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", std::to_string(ranks)};
    words.push_back(program);
    words.insert(words.end(), arguments.begin(), arguments.end());
    return words;
}

/// In the child: output to `log`, one thread a rank, a group of its own, then the program.
[[noreturn]] void become(const std::vector<std::string>& words, const fs::path& log) {
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    const int in = ::open("/dev/null", O_RDONLY);
    ::dup2(in, 0);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::setpgid(0, 0);
    ::setenv("OMP_NUM_THREADS", "1", 1);
    // Open MPI's files too lie in the test's folder. In /tmp, a job that ends removes the folder under one that begins.
    ::setenv("OMPI_MCA_orte_tmpdir_base", log.parent_path().c_str(), 1);
    std::vector<char*> argv;
    for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    std::_Exit(127);
}

int start(const std::vector<std::string>& words, const fs::path& log) {
    const int child = ::fork();
    if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (child == 0) become(words, log);
    return child;
}

int code_of(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string content(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// The process of each rank that trains into `output_dir`, in rank order; -1 for one that is not there.
std::vector<int> rank_processes(const fs::path& output_dir, int ranks) {
    std::vector<int> processes(static_cast<std::size_t>(ranks), -1);
    const std::string variable = "OMPI_COMM_WORLD_RANK=";
    for (const auto& entry : fs::directory_iterator("/proc")) {
        const std::string name = entry.path().filename();
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        const std::string words = content(entry.path() / "cmdline");
        if (!words.starts_with(STRATA_PROGRAM) || words.find(output_dir.string()) == std::string::npos) continue;
        const std::string environment = '\0' + content(entry.path() / "environ");
        const auto at = environment.find('\0' + variable);
        if (at == std::string::npos) continue;
        const auto rank = static_cast<std::size_t>(std::atoi(environment.c_str() + at + 1 + variable.size()));
        if (rank < processes.size()) processes[rank] = std::stoi(name);
    }
    return processes;
}

}  // namespace

JobResult run_strata(int ranks, const std::vector<std::string>& arguments, const std::string& program) {
    const ScratchFolder scratch;
    const int child = start(command(ranks, arguments, program), scratch / "log");
    int status = 0;
    ::waitpid(child, &status, 0);
    return {code_of(status), content(scratch / "log")};
}

BackgroundJob::BackgroundJob(int ranks, const std::vector<std::string>& arguments, fs::path log,
                             const std::string& program)
    : process_(start(command(ranks, arguments, program), log)) {}

BackgroundJob::BackgroundJob(const std::vector<std::string>& words, const fs::path& log)
    : process_(start(words, log)) {}

BackgroundJob::~BackgroundJob() {
    if (process_ > 0 && exit_code_ < 0) {
        ::kill(-process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
    }
}

void BackgroundJob::send(int signal) const {
    ::kill(process_, signal);
}

int BackgroundJob::wait(double seconds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (exit_code_ < 0 && std::chrono::steady_clock::now() < deadline) {
        int status = 0;
        if (::waitpid(process_, &status, WNOHANG) == process_) exit_code_ = code_of(status);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return exit_code_;
}

bool signal_rank(const fs::path& output_dir, int rank, int signal) {
    const int process = rank_processes(output_dir, rank + 1).back();
    return process > 0 && ::kill(process, signal) == 0;
}

bool all_gone(const fs::path& output_dir, int ranks, double seconds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (rank_processes(output_dir, ranks) != std::vector<int>(static_cast<std::size_t>(ranks), -1)) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return true;
}

std::vector<nlohmann::json> read_lines(const fs::path& path) {
    std::ifstream file(path);
    std::vector<nlohmann::json> objects;
    for (std::string line; std::getline(file, line);) objects.push_back(nlohmann::json::parse(line));
    return objects;
}

nlohmann::json read_json(const fs::path& path) {
    return nlohmann::json::parse(content(path));
}

std::string parity(const std::string& name) {
    return std::string(STRATA_FIXTURES) + "/parity/" + name;
}

std::vector<std::string> parity_run(int ranks, const fs::path& output_dir) {
    return with(run_by_default(ranks, output_dir), {"--bf16", "false"});
}

std::vector<std::string> run_by_default(int ranks, const fs::path& output_dir) {
    return {"train",
            "--model_name_or_path",
            parity("tiny_bert"),
            "--train_file",
            parity("train.tsv"),
            "--validation_file",
            parity("test.tsv"),
            "--output_dir",
            output_dir.string(),
            "--per_device_train_batch_size",
            std::to_string(12 / ranks),
            "--max_steps",
            "20",
            "--warmup_steps",
            "4",
            "--learning_rate",
            "1e-3",
            "--layer_decay",
            "0.8",
            "--weight_decay",
            "0.01",
            "--adam_epsilon",
            "1e-5",
            "--max_seq_length",
            "48",
            "--hidden_dropout_prob",
            "0",
            "--attention_probs_dropout_prob",
            "0",
            "--shuffle",
            "false",
            "--logging_steps",
            "1"};
}

std::vector<std::string> with(std::vector<std::string> base, const std::vector<std::string>& more) {
    base.insert(base.end(), more.begin(), more.end());
    return base;
}

}  // namespace strata::testing_support
