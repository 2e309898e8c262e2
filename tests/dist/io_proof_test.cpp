// Parallel I/O that loses or changes something is found before training, on every rank alike. The losses are made at
// MPI's own entry point. What ranks write there is their slices and nothing else: where HDF5 had the file open on all
// of them, it wrote blocks of its own too, and one that failed left the other ranks waiting in HDF5 for ever.
#include "dist/io_proof.h"

#include <gmock/gmock.h>

#include <functional>
#include <vector>

#include "core/error.h"
#include "dist/agreement.h"
#include "tests/dist/state_support.h"

namespace strata::dist::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

using Write = std::function<int(MPI_File, MPI_Offset, const void*, int, MPI_Datatype, MPI_Status*)>;

int bytes_in(int count, MPI_Datatype type) {
    int size = 0;
    MPI_Type_size(type, &size);
    return size * count;
}

/// What a write by this rank does instead; empty: what it should.
Write& broken_write() {
    static Write write;
    return write;
}

}  // namespace
}  // namespace strata::dist::testing

extern "C" int MPI_File_write_at(MPI_File file, MPI_Offset offset, const void* data, int count, MPI_Datatype type,
                                 MPI_Status* status) {
    using namespace strata::dist::testing;
    if (broken_write()) return broken_write()(file, offset, data, count, type, status);
    return PMPI_File_write_at(file, offset, data, count, type, status);
}

namespace strata::dist::testing {
namespace {

class IoProofTest : public ::testing::Test {
  protected:
    ~IoProofTest() override { broken_write() = nullptr; }

    /// Breaks one rank's writes.
    void break_writes(int rank, const Write& write) {
        if (world_.rank() == rank) broken_write() = write;
    }

    std::string error() {
        std::string text;
        try {
            prove_parallel_io(world_, folder_.path());
        } catch (const SystemError& error) {
            EXPECT_TRUE(is_agreed(error));
            text = error.what();
        }
        for (const std::string& other : world_.all_gather_bytes(text)) EXPECT_EQ(other, text);
        EXPECT_TRUE(fs::is_empty(folder_.path())) << "something was left";
        world_.barrier();
        return text;
    }

    void expect_refused(const std::string& problem) {
        EXPECT_THAT(error(), AllOf(HasSubstr(folder_.path().string()), HasSubstr(problem), HasSubstr(mpi_io_module()),
                                   HasSubstr(file_system_of(folder_.path())), HasSubstr("OMPI_MCA_io=^ompio")));
    }

    SharedFolder folder_{MPI_COMM_WORLD};
    MpiCommunicator world_{MPI_COMM_WORLD};
};

TEST_F(IoProofTest, SoundIoPasses) {
    EXPECT_EQ(error(), "");
}

TEST_F(IoProofTest, AWriteThatIsLostIsFound) {
    for (int rank = 0; rank < world_.size(); ++rank) {
        break_writes(rank, [](MPI_File, MPI_Offset, const void*, int count, MPI_Datatype type, MPI_Status* status) {
            MPI_Status_set_elements(status, type, count);
            return MPI_SUCCESS;
        });
        expect_refused("io-proof.h5.tmp");
        broken_write() = nullptr;
    }
}

TEST_F(IoProofTest, OneChangedByteIsFound) {
    break_writes(world_.size() - 1, [](MPI_File file, MPI_Offset offset, const void* data, int count, MPI_Datatype type,
                                       MPI_Status* status) {
        const auto* bytes = static_cast<const char*>(data);
        std::vector<char> changed(bytes, bytes + bytes_in(count, type));
        changed.back() = static_cast<char>(changed.back() ^ 1);
        return PMPI_File_write_at(file, offset, changed.data(), count, type, status);
    });
    expect_refused("differs from its checksum");
}

TEST_F(IoProofTest, AWriteToTheWrongPlaceIsFound) {
    break_writes(0, [](MPI_File file, MPI_Offset offset, const void* data, int count, MPI_Datatype type,
                       MPI_Status* status) { return PMPI_File_write_at(file, offset + 4, data, count, type, status); });
    expect_refused("io-proof.h5.tmp");
}

TEST_F(IoProofTest, AWriteThatFailsIsFound) {
    break_writes(0, [](MPI_File, MPI_Offset, const void*, int, MPI_Datatype, MPI_Status*) { return MPI_ERR_IO; });
    expect_refused("cannot be written");
}

/// Three datasets for each group of which the rank has a slice: of all, of every second rank, of the last.
TEST_F(IoProofTest, RanksWriteTheirSlicesAndNothingElse) {
    int writes = 0;
    const auto count = [&writes](MPI_File file, MPI_Offset offset, const void* data, int elements, MPI_Datatype type,
                                 MPI_Status* status) {
        ++writes;
        return PMPI_File_write_at(file, offset, data, elements, type, status);
    };
    break_writes(world_.rank(), count);
    EXPECT_EQ(error(), "");
    const int groups = 1 + (world_.rank() % 2 == 0 ? 1 : 0) + (world_.rank() == world_.size() - 1 ? 1 : 0);
    EXPECT_EQ(writes, 3 * groups);
}

TEST_F(IoProofTest, NamesWhatIsInUse) {
    EXPECT_THAT(mpi_io_module(), HasSubstr("MPI"));
    EXPECT_THAT(file_system_of("/proc/self/status"), HasSubstr("proc at /proc"));
    EXPECT_THAT(file_system_of("/"), HasSubstr(" at /"));
    ::setenv("OMPI_MCA_io", "ompio", 1);
    const std::string own_module = mpi_io_module();
    ::setenv("OMPI_MCA_io", "^ompio", 1);
    if (!own_module.starts_with("OMPIO of ")) GTEST_SKIP() << "not Open MPI: " << own_module;
    EXPECT_THAT(mpi_io_module(), ::testing::StartsWith("ROMIO of Open MPI"));
}

}  // namespace
}  // namespace strata::dist::testing
