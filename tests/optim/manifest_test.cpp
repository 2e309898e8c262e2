#include "optim/manifest.h"

#include "bert_manifest.h"
#include "core/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace strata::optim {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::message_of;

class ManifestFile : public ::testing::Test {
  protected:
    ManifestFile()
        : path_(std::filesystem::temp_directory_path() / fmt::format("strata_manifest_{}.tsv", ::getpid())) {}
    ~ManifestFile() override { std::filesystem::remove(path_); }

    Manifest read(const std::string& content) {
        std::ofstream(path_, std::ios::binary) << content;
        return read_manifest(path_);
    }
    std::string refusal(const std::string& content) {
        return message_of<UserError>([&] { read(content); });
    }
    std::string at_line(int line) const { return fmt::format("{}:{}:", path_.string(), line); }

    std::filesystem::path path_;
};

TEST_F(ManifestFile, KeepsOrderNamesAndShapes) {
    const Manifest manifest = read("# a comment\nb.weight\t768x3072\r\n\na.scalar\t1\nconv\t64x3x7x7");
    ASSERT_EQ(manifest.size(), 3U);
    EXPECT_EQ(manifest[0].name, "b.weight");
    EXPECT_EQ(manifest[0].shape, (std::vector<std::int64_t>{768, 3072}));
    EXPECT_EQ(manifest[0].elements(), 768 * 3072);
    EXPECT_EQ(manifest[1].elements(), 1);
    EXPECT_EQ(shape_text(manifest[2].shape), "64x3x7x7");
}

TEST_F(ManifestFile, NamesFileAndLineOfWhatIsWrong) {
    EXPECT_THAT(refusal("a\t2\nb 3\n"), AllOf(HasSubstr(at_line(2)), HasSubstr("no tab")));
    EXPECT_THAT(refusal("a\t2\n\t3\n"), AllOf(HasSubstr(at_line(2)), HasSubstr("name is empty")));
    EXPECT_THAT(refusal("a b\t3\n"), AllOf(HasSubstr(at_line(1)), HasSubstr("space")));
    EXPECT_THAT(refusal("a..b\t3\n"), AllOf(HasSubstr(at_line(1)), HasSubstr("empty component")));
    EXPECT_THAT(refusal("a\t2\nb\t2\na\t2\n"), AllOf(HasSubstr(at_line(3)), HasSubstr("on line 1")));
}

TEST_F(ManifestFile, RefusesWhatIsNoShape) {
    for (const char* shape : {"", "x", "3x", "x3", "0", "2x0", "-1", "2 x3", "2X3", "2x3\t", "1e3",
                              "99999999999999999999", "4294967296x4294967296"}) {
        EXPECT_THAT(refusal(fmt::format("a\t{}\n", shape)), AllOf(HasSubstr(at_line(1)), HasSubstr("not a shape")))
            << shape;
    }
}

TEST_F(ManifestFile, RefusesAnEmptyOrMissingFile) {
    EXPECT_THAT(refusal(""), AllOf(HasSubstr(path_.string()), HasSubstr("no parameters")));
    EXPECT_THAT(refusal("# only a comment\n"), HasSubstr("no parameters"));
    std::filesystem::remove(path_);
    EXPECT_THAT(message_of<UserError>([&] { read_manifest(path_); }), HasSubstr(path_.string()));
}

TEST(CheckManifest, RefusesDuplicatesAndShapesThatAreNone) {
    EXPECT_THAT(message_of<UserError>([] { check_manifest({}); }), HasSubstr("no parameters"));
    EXPECT_THAT(message_of<UserError>([] {
                    check_manifest({{"a", {1}}, {"b", {1}}, {"a", {1}}});
                }),
                AllOf(HasSubstr("'a'"), HasSubstr("0 and 2")));
    EXPECT_THAT(message_of<UserError>([] { check_manifest({{"a", {2, 0}}}); }), HasSubstr("2x0"));
    EXPECT_NO_THROW(check_manifest({{"scalar", {}}}));
}

}  // namespace
}  // namespace strata::optim
