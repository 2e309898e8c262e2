#include "core/nearest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace strata {
namespace {

TEST(EditDistance, counts_insertions_deletions_replacements_and_swaps) {
    EXPECT_EQ(edit_distance("", ""), 0u);
    EXPECT_EQ(edit_distance("", "abc"), 3u);
    EXPECT_EQ(edit_distance("abc", "abd"), 1u);
    EXPECT_EQ(edit_distance("abc", "ab"), 1u);
    EXPECT_EQ(edit_distance("trian", "train"), 1u);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(EditDistance, takes_dashes_for_underscores_and_ignores_case) {
    EXPECT_EQ(edit_distance("Learning-Rate", "learning_rate"), 0u);
}

TEST(NearestNames, are_sorted_by_distance_then_by_place) {
    EXPECT_THAT(nearest_names("layer.1", {"pooler", "layer.2", "layer.1", "layer.3"}, 3),
                testing::ElementsAre("layer.1", "layer.2", "layer.3"));
    EXPECT_TRUE(nearest_names("a", {}, 3).empty());
}

TEST(IndexOfName, takes_dashes_for_underscores_and_names_the_nearest) {
    const std::vector<std::string> names = {"layer-decay", "one_cycle", "single"};
    EXPECT_EQ(index_of_name("policy", "layer_decay", names), 0u);
    EXPECT_EQ(index_of_name("policy", "one-cycle", names), 1u);
    try {
        index_of_name("policy", "singel", names);
        FAIL() << "an unknown name passed";
    } catch (const UserError& error) {
        EXPECT_STREQ(error.what(),
                     "Unknown policy 'singel'. Did you mean 'single'? It is one of layer-decay, one_cycle or single.");
    }
    EXPECT_THROW(index_of_name("policy", "Single", names), UserError);
    EXPECT_THROW(index_of_name("policy", "", names), UserError);
}

TEST(DidYouMean, is_silent_when_nothing_is_close) {
    EXPECT_EQ(did_you_mean("sed", {"seed", "optim"}), " Did you mean 'seed'?");
    EXPECT_EQ(did_you_mean("zzzzzz", {"seed", "optim"}), "");
    EXPECT_EQ(did_you_mean("", {"optimizer"}), "");
}

TEST(DidYouMean, finds_names_that_hold_the_words_asked_for) {
    const std::vector<std::string> names = {"num_train_epochs", "warmup_steps", "warmup_ratio", "model_name_or_path"};
    EXPECT_EQ(did_you_mean("epochs", names), " Did you mean 'num_train_epochs'?");
    EXPECT_EQ(did_you_mean("warmup", names), " Did you mean 'warmup_steps'?");
    EXPECT_EQ(did_you_mean("Model-Name", names), " Did you mean 'model_name_or_path'?");
    EXPECT_EQ(did_you_mean("rain_epo", names), "") << "no whole words";
}

}  // namespace
}  // namespace strata
