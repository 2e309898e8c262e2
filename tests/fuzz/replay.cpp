// Runs a fuzz target without libFuzzer: on every file of a corpus, then on as many random changes of each as asked for.
//
//   NAME_fuzz CORPUS [CHANGES [SEED]]
//
// A changed input that ends the process is left behind as CORPUS's neighbour crash-NAME in the working directory.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <vector>

#include "core/file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::string;

/// One to four small changes: a byte, a run cut out or doubled, a piece of another input.
Input changed(Input input, const std::vector<Input>& corpus, std::mt19937_64& random) {
    const auto below = [&](std::size_t end) { return end == 0 ? 0 : random() % end; };
    for (std::size_t change = below(4) + 1; change > 0; --change) {
        const std::size_t at = below(input.size() + 1);
        const std::size_t run = below(std::min<std::size_t>(input.size() - at, 32) + 1);
        switch (below(5)) {
            case 0:
                if (at < input.size()) input[at] = static_cast<char>(random());
                break;
            case 1:
                if (at < input.size()) input[at] = static_cast<char>(input[at] ^ (1 << below(8)));
                break;
            case 2:
                input.erase(at, run);
                break;
            case 3:
                input.insert(at, input.substr(at, run));
                break;
            default: {
                const Input& other = corpus[below(corpus.size())];
                const std::size_t from = below(other.size() + 1);
                input.insert(at, other, from, below(64));
            }
        }
    }
    return input;
}

void run(const Input& input) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s CORPUS [CHANGES [SEED]]\n", argv[0]);
        return 2;
    }
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(argv[1])) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    std::vector<Input> corpus;
    for (const auto& file : files) corpus.push_back(strata::read_file(file));
    for (const Input& input : corpus) run(input);
    const std::size_t changes = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 0;
    std::mt19937_64 random(argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 1);
    const std::string kept = "crash-" + std::filesystem::path(argv[0]).filename().string();
    for (const Input& input : corpus) {
        for (std::size_t i = 0; i < changes; ++i) {
            const Input wrong = changed(input, corpus, random);
            std::FILE* file = std::fopen(kept.c_str(), "wb");
            if (file != nullptr) {
                std::fwrite(wrong.data(), 1, wrong.size(), file);
                std::fclose(file);
            }
            run(wrong);
        }
    }
    std::filesystem::remove(kept);
    std::printf("%zu inputs, %zu changes of each\n", corpus.size(), changes);
    return corpus.empty() ? 1 : 0;
}
