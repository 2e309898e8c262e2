// TSV, CSV and JSONL files as training, validation and test data, with and without a GLUE task.
#include "data/dataset.h"
#include "tests/fuzz/scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    using namespace strata;
    static const char* const names[] = {"data.tsv", "data.csv", "data.jsonl"};
    static const char* const tasks[] = {"", "sst2", "mrpc", "stsb", "qqp", "mnli", "cola"};
    std::string_view input = fuzz::text_of(bytes, size);
    const std::string name = names[fuzz::take_choice(input, std::size(names))];
    data::ReadOptions options;
    options.task_name = tasks[fuzz::take_choice(input, std::size(tasks))];
    const std::size_t choice = fuzz::take_choice(input, 6);
    options.split = static_cast<data::Split>(choice % 3);
    options.encoding = choice < 3 ? data::TextEncoding::utf8 : data::TextEncoding::latin1;
    const auto path = fuzz::scratch().write(name, std::string(input));
    fuzz::allow_refusal([&] { data::labels_of(path, options); });
    fuzz::allow_refusal([&] {
        const data::Dataset read = data::read_dataset(path, options);
        STRATA_CHECK(read.size() <= static_cast<std::int64_t>(input.size()), "more rows than bytes");
    });
    return 0;
}
