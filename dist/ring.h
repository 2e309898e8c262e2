// One TCP connection from every rank to the next, the last rank's going to the first: how ranks hear whether their
// neighbour lives.
//
// Its own connections rather than messages of MPI or NCCL, because they must work when those are stuck, and because
// the kernel closes them at once when a process dies. Addresses travel over the communicator; each rank tries those of
// its predecessor in turn, and a random token keeps strangers out.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

#include "dist/communicator.h"

namespace strata::dist {

/// Closed when it goes.
class Socket {
  public:
    explicit Socket(int number = -1) : number_(number) {}
    ~Socket() { close(); }
    Socket(Socket&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Socket& operator=(Socket&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    int get() const { return number_; }
    bool open() const { return number_ >= 0; }
    void close();

  private:
    int number_ = -1;
};

/// Sockets that do not block.
struct Ring {
    Socket previous;  ///< from rank r - 1
    Socket next;      ///< to rank r + 1
};

/// Collective; at least two ranks. If any rank cannot reach its predecessor within `limit`, all throw one
/// AgreedSystemError that names both, their hosts and the addresses tried.
Ring connect_ring(Communicator& communicator, std::chrono::milliseconds limit);

}  // namespace strata::dist
