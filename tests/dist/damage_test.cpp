// Damaged and hostile checkpoints: found and named, never believed, never a crash.
#include <hdf5.h>

#include <fstream>
#include <random>

#include "core/error.h"
#include "core/file.h"
#include "dist/checkpoint.h"
#include "dist/hdf5.h"
#include "tests/dist/state_support.h"

namespace strata::dist::testing {
namespace {

namespace fs = std::filesystem;

/// One checkpoint made by this rank alone, and a second folder to do harm in.
class DamageTest : public ::testing::Test {
  protected:
    SharedFolder shared_{MPI_COMM_SELF};
    MpiCommunicator alone_{MPI_COMM_SELF};
    fs::path whole_ = make();
    fs::path harmed_ = shared_.path() / "harmed";

    void SetUp() override {
        int rank = 0;
        MPI_Comm_rank(MPI_COMM_WORLD, &rank);
        if (rank != 0) GTEST_SKIP();  // nothing here depends on the number of ranks
    }

    fs::path make() {
        OwnedState state;
        state.add("body", {{"body.weight", {64, 32}}, {"body.bias", {32}}}, 0, 1);
        state.add("head", {{"head.weight", {2, 32}}}, 0, 1, 3, {StateKind::master, StateKind::exp_avg});
        state.fill();
        CheckpointContent content;
        content.header = test_header(5, 1);
        content.header.effective_config = "learning_rate = 2e-5\n";
        content.groups = state.groups;
        content.trainer_state = R"({"global_step": 5})";
        content.write_files = [](const fs::path& folder) {
            write_file_atomically(folder / "config.json", R"({"model_type": "bert"})");
            write_file_atomically(folder / "model.safetensors", std::string(5000, 'w'));
            write_file_atomically(folder / "vocab.txt", "[PAD]\n[UNK]\n");
        };
        return write_checkpoint(alone_, shared_.path(), content);
    }

    void restore() {
        fs::remove_all(harmed_);
        fs::copy(whole_, harmed_, fs::copy_options::recursive);
    }

    static void replace(const fs::path& file, const std::string& content) {
        std::ofstream(file, std::ios::binary | std::ios::trunc) << content;
    }

    /// All problems in one text.
    std::string verdict() const {
        std::string text;
        for (const std::string& problem : verify_checkpoint(harmed_)) text += problem + "\n";
        return text;
    }

    /// What a message must name for a flip of, or a cut before, a byte of state.h5.
    static std::string part_of_state(const std::vector<StateFile::Extent>& extents, std::uint64_t at, bool cut) {
        for (const StateFile::Extent& extent : extents) {
            if (cut && at < extent.offset + extent.bytes) return "cuts dataset " + extent.dataset + ":";
            if (!cut && extent.offset <= at && at < extent.offset + extent.bytes)
                return "dataset " + extent.dataset + " ";
        }
        return cut ? " bytes of " : "its structure (headers, names, attributes of / and /groups)";
    }

    std::vector<fs::path> files() const {
        std::vector<fs::path> names;
        for (const auto& entry : fs::directory_iterator(whole_)) names.push_back(entry.path().filename());
        std::sort(names.begin(), names.end());
        return names;
    }
};

TEST_F(DamageTest, ABitFlippedInAnyDatasetIsFoundAndNamed) {
    const std::string state = read_file(whole_ / "state.h5");
    restore();
    const auto extents = StateFile(whole_ / "state.h5").extents();
    ASSERT_EQ(extents.size(), 9U);  // train, checksums, two members, five of state
    for (const StateFile::Extent& extent : extents) {
        for (const std::uint64_t at : {std::uint64_t{0}, extent.bytes / 2, extent.bytes - 1}) {
            std::string flipped = state;
            flipped[extent.offset + at] = static_cast<char>(flipped[extent.offset + at] ^ 1);
            replace(harmed_ / "state.h5", flipped);
            const std::string text = verdict();
            EXPECT_NE(text.find((harmed_ / "state.h5").string()), std::string::npos) << extent.dataset << " " << text;
            EXPECT_NE(text.find("dataset " + extent.dataset + " "), std::string::npos)
                << extent.dataset << " byte " << at << ": " << text;
        }
    }
}

/// Every other flip in state.h5 falls into a dataset, since most of this small one is attributes.
TEST_F(DamageTest, AThousandRandomFlipsAndCutsAreFoundEachNamingFileAndDataset) {
    std::mt19937 random(1);
    const auto extents = StateFile(whole_ / "state.h5").extents();
    const std::vector<fs::path> names = files();
    ASSERT_EQ(names.size(), 6U);
    restore();
    for (int round = 0; round < 1000; ++round) {
        const fs::path& name = names[static_cast<std::size_t>(round) % names.size()];
        const std::string original = read_file(whole_ / name);
        const bool cut = random() % 4 == 0;
        std::size_t at = random() % original.size();
        if (!cut && name == "state.h5" && random() % 2 == 0) {
            const StateFile::Extent& extent = extents[random() % extents.size()];
            at = extent.offset + random() % extent.bytes;
        }
        std::string damaged = original.substr(0, cut ? at : original.size());
        if (!cut) damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
        replace(harmed_ / name, damaged);
        const std::string text = verdict();
        ASSERT_TRUE(text.starts_with((harmed_ / name).string() + ": ")) << name << " byte " << at << ": " << text;
        if (name == "state.h5") {
            ASSERT_NE(text.find(part_of_state(extents, at, cut)), std::string::npos) << at << ": " << text;
        }
        replace(harmed_ / name, original);
    }
    EXPECT_EQ(verdict(), "");
}

TEST_F(DamageTest, TruncationOfAnyFileIsFoundAndTheFileNamed) {
    for (const fs::path& name : files()) {
        const std::string original = read_file(whole_ / name);
        for (const std::size_t kept : {std::size_t{0}, std::size_t{1}, original.size() / 3, original.size() - 1}) {
            restore();
            replace(harmed_ / name, original.substr(0, kept));
            EXPECT_NE(verdict().find((harmed_ / name).string()), std::string::npos) << name << " cut to " << kept;
        }
        restore();
        fs::remove(harmed_ / name);
        EXPECT_NE(verdict().find((harmed_ / name).string() + ": is missing"), std::string::npos) << name;
    }
}

TEST_F(DamageTest, AStateFileThatEndsEarlyNamesTheDatasetThatIsCut) {
    restore();
    const auto extents = StateFile(whole_ / "state.h5").extents();
    const auto last =
        std::find_if(extents.rbegin(), extents.rend(), [](const auto& extent) { return extent.in_checksums; });
    fs::resize_file(harmed_ / "state.h5", last->offset + last->bytes / 2);
    EXPECT_NE(verdict().find("cuts dataset " + last->dataset), std::string::npos) << verdict();
    EXPECT_THROW(open_checkpoint_state(harmed_), SystemError);
}

TEST_F(DamageTest, WithoutItsChecksumsAStateFileStillNeitherCrashesTheReaderNorFoolsIt) {
    const std::string original = read_file(whole_ / "state.h5");
    const auto extents = StateFile(whole_ / "state.h5").extents();
    restore();
    const fs::path file = harmed_ / "state.h5";
    std::mt19937 random(2);
    for (int round = 0; round < 400; ++round) {
        std::string damaged = original;
        if (round % 4 == 0)
            damaged.resize(random() % damaged.size());
        else
            damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
        replace(file, damaged);
        try {
            StateFile(file).verify();
        } catch (const UserError&) {
        } catch (const SystemError&) {
        }
    }
    for (const StateFile::Extent& extent : extents) {
        if (!extent.in_checksums) continue;
        std::string damaged = original;
        damaged[extent.offset + extent.bytes / 3] ^= 2;
        replace(file, damaged);
        ASSERT_EQ(StateFile(file).verify().size(), 1U) << extent.dataset;
    }
}

/// Replaces one object of a state file by something that is not what it says.
class HostileTest : public DamageTest {
  protected:
    void harm(const std::function<void(hid_t)>& action) {
        restore();
        const hdf5::File file(H5Fopen((harmed_ / "state.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT), "opening");
        action(file.get());
    }

    std::string error_of_opening() const {
        try {
            StateFile(harmed_ / "state.h5").verify();
        } catch (const std::exception& error) {
            return error.what();
        }
        return "no error";
    }

    static void make_chunked(hid_t file, const char* name, hsize_t elements) {
        const hdf5::PropertyList properties(H5Pcreate(H5P_DATASET_CREATE), name);
        const hsize_t chunk = 1024;
        hdf5::check(H5Pset_chunk(properties.get(), 1, &chunk), name);
        const hdf5::Space space(H5Screate_simple(1, &elements, nullptr), name);
        const hdf5::Dataset dataset(
            H5Dcreate2(file, name, H5T_IEEE_F32LE, space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), name);
    }
};

TEST_F(HostileTest, ADatasetThatOnlyClaimsToBeLargeIsRefused) {
    harm([](hid_t file) {
        H5Ldelete(file, "/groups/body/master", H5P_DEFAULT);
        make_chunked(file, "/groups/body/master", hsize_t{1} << 40);
    });
    EXPECT_NE(error_of_opening().find("/groups/body/master: is not stored in one piece"), std::string::npos)
        << error_of_opening();
}

TEST_F(HostileTest, ADatasetOfAnotherLengthThanItsMembersIsRefused) {
    harm([](hid_t file) {
        H5Ldelete(file, "/groups/body/master", H5P_DEFAULT);
        H5Lcreate_hard(file, "/groups/head/master", file, "/groups/body/master", H5P_DEFAULT, H5P_DEFAULT);
    });
    EXPECT_NE(error_of_opening().find("dataset /groups/body/master: has 64 elements, its members have 2080"),
              std::string::npos)
        << error_of_opening();
}

TEST_F(HostileTest, MissingPartsAreNamed) {
    for (const char* name : {"/train", "/checksums", "/groups", "/groups/head/members"}) {
        harm([&](hid_t file) { H5Ldelete(file, name, H5P_DEFAULT); });
        const std::string last = std::string(name).substr(std::string(name).rfind('/') + 1);
        const std::string text = error_of_opening();
        EXPECT_NE(text.find("state.h5"), std::string::npos) << text;
        EXPECT_NE(text.find(last), std::string::npos) << text;
    }
    for (const char* name : {"step", "epoch", "world_size", "effective_config", "plan_hash"}) {
        harm([&](hid_t file) { H5Adelete(file, name); });
        EXPECT_NE(error_of_opening().find(name), std::string::npos) << error_of_opening();
    }
}

TEST_F(HostileTest, AnotherFormatOrVersionIsTheUsersError) {
    harm([](hid_t file) { H5Adelete(file, "format"); });
    EXPECT_THROW(StateFile{harmed_ / "state.h5"}, UserError);
    harm([](hid_t file) {
        H5Adelete(file, "version");
        hdf5::write_attribute(file, "version", std::int64_t{2});
    });
    EXPECT_THROW(StateFile{harmed_ / "state.h5"}, UserError);
    EXPECT_THROW(StateFile{harmed_ / "nothing.h5"}, UserError);
}

TEST_F(HostileTest, AttributesOfTheWrongKindAreRefused) {
    harm([](hid_t file) {
        H5Adelete(file, "step");
        hdf5::write_attribute(file, "step", std::string("forty"));
    });
    EXPECT_NE(error_of_opening().find("attribute step: is not of the kind it should be"), std::string::npos)
        << error_of_opening();
}

TEST_F(HostileTest, AParameterThatIsThereTwiceIsRefused) {
    harm([](hid_t file) {
        H5Ldelete(file, "/groups/head/members", H5P_DEFAULT);
        const hdf5::Group head(H5Gopen2(file, "/groups/head", H5P_DEFAULT), "head");
        hdf5::write_table(head.get(), "members",
                          {{"name", true, {"body.bias", "b"}, {}},
                           {"offset", false, {}, {0, 32}},
                           {"elements", false, {}, {32, 32}},
                           {"shape", true, {"32", "32"}, {}},
                           {"decays", false, {}, {0, 0}}});
    });
    EXPECT_NE(error_of_opening().find("body.bias is there twice"), std::string::npos) << error_of_opening();
}

TEST_F(HostileTest, ShapesThatOverflowAreRefused) {
    for (const char* shape : {"4294967296x4294967296", "9223372036854775807", "-64", "64x", ""}) {
        harm([&](hid_t file) {
            H5Ldelete(file, "/groups/head/members", H5P_DEFAULT);
            const hdf5::Group head(H5Gopen2(file, "/groups/head", H5P_DEFAULT), "head");
            hdf5::write_table(head.get(), "members",
                              {{"name", true, {"head.weight"}, {}},
                               {"offset", false, {}, {0}},
                               {"elements", false, {}, {0}},
                               {"shape", true, {shape}, {}},
                               {"decays", false, {}, {1}}});
        });
        EXPECT_NE(error_of_opening().find("dataset members: row 0"), std::string::npos)
            << shape << ": " << error_of_opening();
    }
}

TEST_F(HostileTest, AChecksumTableThatDoesNotCoverEverythingIsRefused) {
    harm([](hid_t file) {
        H5Ldelete(file, "checksums", H5P_DEFAULT);
        hdf5::write_table(file, "checksums",
                          {{"dataset", true, {"/groups/body/master"}, {}},
                           {"offset", false, {}, {0}},
                           {"length", false, {}, {2080}},
                           {"hash", false, {}, {1}}});
    });
    EXPECT_NE(error_of_opening().find("does not cover /groups/body/exp_avg from element 0"), std::string::npos)
        << error_of_opening();
}

}  // namespace
}  // namespace strata::dist::testing
