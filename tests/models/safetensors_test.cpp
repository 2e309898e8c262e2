#include "models/safetensors.h"

#include <sys/resource.h>
#include <torch/types.h>

#include <csignal>
#include <limits>

#include "tests/models/support.h"

namespace strata::models {
namespace {

using testing::expect_user_error;

std::string file_of(const std::string& header, std::size_t data_bytes, std::uint64_t claimed) {
    std::string file;
    for (int i = 0; i < 8; ++i) file.push_back(static_cast<char>(claimed >> (8 * i)));
    return file + header + std::string(data_bytes, '\1');
}

std::string file_of(const std::string& header, std::size_t data_bytes) {
    return file_of(header, data_bytes, header.size());
}

std::vector<std::pair<std::string, torch::Tensor>> samples() {
    const torch::Tensor values = torch::tensor({0.5, -2.0, 3.0, 0.0, 1.0, 7.0}).view({2, 3});
    return {{"double", values.to(torch::kFloat64)},
            {"float", values.to(torch::kFloat32)},
            {"half", values.to(torch::kFloat16)},
            {"brain", values.to(torch::kBFloat16)},
            {"long", values.to(torch::kInt64)},
            {"byte", values.abs().to(torch::kUInt8)},
            {"flag", values > 0},
            {"scalar", torch::tensor(4.0)},
            {"empty", torch::empty({0, 5})},
            {"not contiguous", values.t()}};
}

TEST(Safetensors, ReadsWhatItWrote) {
    const testing::TemporaryFolder folder;
    write_safetensors(folder.path() / "a.safetensors", samples());
    const SafetensorsFile file(folder.path() / "a.safetensors");
    EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
    ASSERT_EQ(file.tensors().size(), samples().size());
    for (const auto& [name, tensor] : samples()) {
        const torch::Tensor read = file.load(name);
        EXPECT_EQ(read.scalar_type(), tensor.scalar_type()) << name;
        EXPECT_TRUE(torch::equal(read, tensor)) << name;
    }
    EXPECT_FALSE(std::filesystem::exists(folder.path() / "a.safetensors.tmp"));
    expect_user_error([&] { file.load("nothing"); }, {"a.safetensors", "no tensor 'nothing'"});
}

TEST(Safetensors, KeepsNotANumber) {
    const testing::TemporaryFolder folder;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    write_safetensors(folder.path() / "a.safetensors", {{"x", torch::full({3}, nan)}});
    EXPECT_TRUE(SafetensorsFile(folder.path() / "a.safetensors").load("x").isnan().all().item<bool>());
}

TEST(Safetensors, ReadsDataAtAnOddAddress) {
    const testing::TemporaryFolder folder;
    const auto path = folder.write("a", file_of(R"({"x":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}} )", 4));
    EXPECT_EQ(SafetensorsFile(path).load("x").item<int>(), 0x01010101);
}

struct Hostile {
    std::string name, content;
    std::vector<std::string> expected;
};

class HostileSafetensors : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileSafetensors, IsRefusedByName) {
    const testing::TemporaryFolder folder;
    const auto path = folder.write("model.safetensors", GetParam().content);
    expect_user_error([&] { SafetensorsFile{path}; }, {path.string()});
    for (const std::string& part : GetParam().expected) {
        expect_user_error([&] { SafetensorsFile{path}; }, {part});
    }
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
    return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return "{" + entry("x", dtype, shape, offsets) + "}";
}

INSTANTIATE_TEST_SUITE_P(
    Files, HostileSafetensors,
    ::testing::Values(
        Hostile{"Empty", "", {"too few"}},  //
        Hostile{"SevenBytes", "1234567", {"too few"}},
        Hostile{"HeaderBeyondTheFile", file_of("{}", 0, 3), {"truncated"}},
        Hostile{"HeaderWraps", file_of("{}", 0, ~std::uint64_t{0}), {"the most is 100000000"}},
        Hostile{"HeaderTooLong", file_of("{}", 0, 100'000'001), {"the most is"}},
        Hostile{"NoJson", file_of("{\"x\":", 0), {"not valid JSON"}},  //
        Hostile{"NoHeader", file_of("", 0), {"not valid JSON"}},
        Hostile{"List", file_of("[]", 0), {"not a JSON object"}},
        Hostile{"BadUtf8", file_of("{\"\xff\":1}", 0), {"not valid JSON"}},
        Hostile{"EntryIsNumber", file_of(R"({"x":1})", 0), {"'x'", "not an object"}},
        Hostile{"NoDtype", file_of(R"({"x":{"shape":[],"data_offsets":[0,4]}})", 4), {"'x'", "no dtype"}},
        Hostile{"NoShape", file_of(R"({"x":{"dtype":"F32","data_offsets":[0,4]}})", 4), {"'x'", "no shape"}},
        Hostile{"NoOffsets", file_of(R"({"x":{"dtype":"F32","shape":[1]}})", 4), {"'x'", "no data_offsets"}},
        Hostile{"UnknownDtype", file_of(one("F7", "[1]", "[0,4]"), 4), {"'x'", "unknown dtype 'F7'"}},
        Hostile{"NumericDtype", file_of(R"({"x":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", 4), {"'x'", "dtype"}},
        Hostile{"Truncated", file_of(one("F32", "[4]", "[0,16]"), 15), {"'x'", "may be truncated"}},
        Hostile{"NegativeOffset", file_of(one("F32", "[1]", "[-4,0]"), 4), {"'x'", "data_offsets"}},
        Hostile{"BackwardOffsets", file_of(one("F32", "[1]", "[4,0]"), 4), {"'x'", "before it begins"}},
        Hostile{"FractionOffset", file_of(one("F32", "[1]", "[0,4.0]"), 4), {"'x'", "data_offsets"}},
        Hostile{"ThreeOffsets", file_of(one("F32", "[1]", "[0,4,4]"), 4), {"'x'", "two numbers"}},
        Hostile{"HugeOffset", file_of(one("F32", "[1]", "[0,18446744073709551615]"), 4), {"'x'", "ends at byte"}},
        Hostile{"HugerOffset", file_of(one("F32", "[1]", "[0,18446744073709551616]"), 4), {"'x'", "data_offsets"}},
        Hostile{"NegativeShape", file_of(one("F32", "[-1]", "[0,4]"), 4), {"'x'", "shape"}},
        Hostile{"ShapeIsNumber", file_of(one("F32", "1", "[0,4]"), 4), {"'x'", "shape is not a list"}},
        Hostile{"ShapeTooSmall", file_of(one("F32", "[1]", "[0,8]"), 8), {"'x'", "needs 4 bytes", "span 8"}},
        Hostile{"ShapeTooLarge", file_of(one("F32", "[3]", "[0,8]"), 8), {"'x'", "needs 12 bytes"}},
        Hostile{"ShapeOverflows", file_of(one("F32", "[4294967296,4294967296]", "[0,0]"), 0), {"'x'", "too large"}},
        Hostile{"ShapeBeyondInt64", file_of(one("F32", "[0,9223372036854775808]", "[0,0]"), 0), {"'x'", "too large"}},
        Hostile{"DuplicateTensor",
                file_of("{" + entry("x", "U8", "[1]", "[0,1]") + "," + entry("x", "U8", "[1]", "[0,1]") + "}", 1),
                {"'x' appears twice"}},
        Hostile{"DuplicateKey",
                file_of(R"({"x":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1),
                {"'dtype' appears twice"}},
        Hostile{"Overlap",
                file_of("{" + entry("x", "U8", "[4]", "[0,4]") + "," + entry("y", "U8", "[4]", "[3,7]") + "}", 7),
                {"'y'", "overlaps"}},
        Hostile{"Inside",
                file_of("{" + entry("x", "U8", "[8]", "[0,8]") + "," + entry("y", "U8", "[2]", "[3,5]") + "}", 8),
                {"'y'", "overlaps"}},
        Hostile{"Hole",
                file_of("{" + entry("x", "U8", "[4]", "[0,4]") + "," + entry("y", "U8", "[4]", "[5,9]") + "}", 9),
                {"'y'", "hole"}},
        Hostile{"HoleFirst", file_of(one("U8", "[4]", "[1,5]"), 5), {"'x'", "hole"}},
        Hostile{"Rest", file_of(one("U8", "[4]", "[0,4]"), 5), {"1 bytes after the last tensor"}},
        Hostile{"MetadataNumber", file_of(R"({"__metadata__":{"format":1}})", 0), {"__metadata__ 'format'"}},
        Hostile{"MetadataList", file_of(R"({"__metadata__":[]})", 0), {"__metadata__"}}),
    [](const auto& test) { return test.param.name; });

TEST(Safetensors, EveryTruncationIsRefused) {
    const testing::TemporaryFolder folder;
    write_safetensors(folder.path() / "whole", samples());
    const std::string whole = read_file(folder.path() / "whole");
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const auto path = folder.write("part", whole.substr(0, size));
        EXPECT_THROW(SafetensorsFile{path}, UserError) << size << " of " << whole.size() << " bytes";
    }
}

TEST(Safetensors, DeepNestingIsRefusedWithoutRecursion) {
    const testing::TemporaryFolder folder;
    std::string header = "{\"x\":" + std::string(2'000'000, '[') + std::string(2'000'000, ']') + "}";
    EXPECT_THROW(SafetensorsFile{folder.write("deep", file_of(header, 0))}, UserError);
}

TEST(Safetensors, AFailedWriteLeavesTheOldFile) {
    const testing::TemporaryFolder folder;
    const auto path = folder.write("model.safetensors", "old");
    // A limit on file size stands for a full disk: write() fails in the same place.
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit tight{100'000, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
    testing::expect_error<SystemError>(
        [&] {
            write_safetensors(path, {{"x", torch::zeros({50'000})}});
        },
        {"model.safetensors", "cannot be written"});
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, handler);
    EXPECT_EQ(read_file(path), "old");
    EXPECT_FALSE(std::filesystem::exists(folder.path() / "model.safetensors.tmp"));
    testing::expect_error<SystemError>([&] { write_safetensors(folder.path() / "no/x", {}); }, {"no/x"});
}

}  // namespace
}  // namespace strata::models
