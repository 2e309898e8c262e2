// Loaded before the program (LD_PRELOAD), so that a test can hold up its disk or take its MPI's threads away.
//
//   STAND_IN_GATE     what is in the folder of a checkpoint is synced only once this file is there
//   STAND_IN_QUOTA    nothing in the folder of a checkpoint gets room: the user's quota is used up
//   STAND_IN_THREADS  MPI gives no more than MPI_THREAD_SERIALIZED
#include <mpi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

namespace {

bool is_of_checkpoint(int file) {
    char link[64] = "/proc/self/fd/";
    char digits[16] = "";
    int length = 0;
    for (int rest = file; length == 0 || rest > 0; rest /= 10) digits[length++] = static_cast<char>('0' + rest % 10);
    for (int i = 0; i < length; ++i)
        link[std::strlen("/proc/self/fd/") + static_cast<std::size_t>(i)] = digits[length - 1 - i];
    char path[PATH_MAX] = "";
    const ssize_t size = ::readlink(link, path, sizeof(path) - 1);
    return size > 0 && std::strstr(path, "/checkpoint-") != nullptr;
}

}  // namespace

extern "C" int fsync(int file) {
    const char* gate = std::getenv("STAND_IN_GATE");
    if (gate != nullptr && is_of_checkpoint(file)) {
        while (::access(gate, F_OK) != 0) ::usleep(2000);
    }
    return static_cast<int>(::syscall(SYS_fsync, file));
}

extern "C" int fallocate(int file, int mode, off_t offset, off_t length) {
    if (std::getenv("STAND_IN_QUOTA") != nullptr && is_of_checkpoint(file)) {
        errno = EDQUOT;
        return -1;
    }
    return static_cast<int>(::syscall(SYS_fallocate, file, mode, offset, length));
}

extern "C" int MPI_Query_thread(int* provided) {
    const int status = PMPI_Query_thread(provided);
    if (std::getenv("STAND_IN_THREADS") != nullptr) *provided = MPI_THREAD_SERIALIZED;
    return status;
}
