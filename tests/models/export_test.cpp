// What goes into which shard, and how large a shard may be; the folders themselves are tested through the program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "models/hf_folder.h"

namespace strata::models {
namespace {

TEST(Export, shards_are_cut_as_huggingface_hub_cuts_them) {
    std::vector<TensorOutline> tensors;
    for (const std::int64_t bytes : {40, 70, 200, 30, 60, 100, 0}) {
        tensors.push_back({std::to_string(tensors.size()), torch::kUInt8, {bytes}});
    }
    std::vector<std::string> names;
    for (const auto& shard : split_into_shards(tensors, 100)) {
        names.emplace_back();
        for (const auto& tensor : shard) names.back() += tensor.name;
    }
    // split_state_dict_into_shards_factory of huggingface_hub 2.4.0, run on the same sizes.
    EXPECT_THAT(names, testing::ElementsAre("0", "2", "13", "4", "56"));
    EXPECT_EQ(split_into_shards({}, 100).size(), 1U);
}

TEST(Export, shard_sizes_are_read_as_huggingface_hub_reads_them) {
    EXPECT_EQ(parse_shard_size("5GB", "x"), 5'000'000'000U);
    EXPECT_EQ(parse_shard_size("1.5 mb", "x"), 1'500'000U);
    EXPECT_EQ(parse_shard_size("300", "x"), 300U);
    for (const char* wrong : {"", "GB", "5 GiB", "-1GB", "0", "nan", "5GB5", "1e30TB"}) {
        EXPECT_THROW(parse_shard_size(wrong, "x"), UserError) << wrong;
    }
}

}  // namespace
}  // namespace strata::models
