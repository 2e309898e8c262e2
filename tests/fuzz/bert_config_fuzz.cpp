// A model's config.json; what is read is written and read again.
#include "models/bert_config.h"
#include "tests/fuzz/scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    using namespace strata;
    const std::string text(fuzz::text_of(bytes, size));
    fuzz::allow_refusal([&] {
        const models::BertConfig config = models::parse_bert_config(text, "config.json");
        const models::BertConfig again = models::parse_bert_config(config.to_json().dump(), "what was written");
        STRATA_CHECK(again.label_names == config.label_names && again.hidden_size == config.hidden_size,
                     "written and read again, it is another");
    });
    return 0;
}
