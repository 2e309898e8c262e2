#include "dist/job_watch.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "dist/mpi_environment.h"
#include "dist/ring.h"

namespace strata::dist {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// Ranks that a launcher ends die one after another: who sees a neighbour die waits so long, to be ended as well.
constexpr milliseconds end_of_all{200};
/// Where a whole host goes silent several ranks may notice: all but the first give it time to speak for them.
constexpr milliseconds first_word{3000};
/// For an error to turn out to be the echo of another rank's end.
constexpr milliseconds echo{500};

enum class Kind : char { alive, farewell, ending };

/// What travels: plain bytes of one size. All ranks run one program (agreement of builds), so they lay it out alike.
struct Note {
    Kind kind = Kind::alive;
    std::int64_t waits = 0;
    std::array<char, 112> doing{};

    static Note of(Kind kind, const Activity::Snapshot& activity) {
        Note note{kind, activity.waits, {}};
        const std::string text = activity.text();
        std::copy_n(text.begin(), std::min(text.size(), note.doing.size() - 1), note.doing.begin());
        return note;
    }
};

/// One neighbour's end of a connection. Nothing blocks; what does not fit into the socket is sent later or dropped.
class Line {
  public:
    explicit Line(Socket socket) : socket_(std::move(socket)) {}

    int number() const { return socket_.get(); }
    bool open() const { return socket_.open(); }

    void send(const Note& note) {
        flush();
        if (unsent_.size() < sizeof(Note) * 4) unsent_.append(reinterpret_cast<const char*>(&note), sizeof(note));
        flush();
    }

    /// The notes that have come. Closes the line when the other end has.
    std::vector<Note> receive() {
        std::vector<Note> notes;
        char buffer[4096];
        while (socket_.open()) {
            const auto got = ::recv(socket_.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
            if (got <= 0) socket_.close();
            if (got > 0) unread_.append(buffer, static_cast<std::size_t>(got));
        }
        for (; unread_.size() >= sizeof(Note); unread_.erase(0, sizeof(Note))) {
            std::memcpy(static_cast<void*>(&notes.emplace_back()), unread_.data(), sizeof(Note));
        }
        return notes;
    }

  private:
    void flush() {
        while (socket_.open() && !unsent_.empty()) {
            const auto sent = ::send(socket_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent <= 0) return;
            unsent_.erase(0, static_cast<std::size_t>(sent));
        }
    }

    Socket socket_;
    std::string unsent_;
    std::string unread_;
};

/// Whatever hangs, the process ends, and with it, a little later, the daemon of Open MPI's that started it: on a host
/// that is cut off it would wait for its mpirun for a quarter of an hour, until TCP gives up. A process of its own sees
/// to that, because the daemon ends the ranks first.
void end_after(milliseconds grace, int exit_code) {
    const pid_t parent = ::getppid();
    std::string name;
    std::ifstream(fmt::format("/proc/{}/comm", parent)) >> name;
    if (name == "orted" && ::fork() == 0) {
        // Only what a child of a process with threads may call. It holds no file open that others see close; two
        // seconds more, for the other ranks of this host.
        ::close_range(0, ~0U, 0);
        ::setsid();
        const timespec moment{0, 100'000'000};
        for (auto left = grace + milliseconds(2000); left.count() > 0; left -= milliseconds(100)) {
            ::nanosleep(&moment, nullptr);
            if (::kill(parent, 0) != 0) ::_exit(0);
        }
        ::kill(parent, SIGKILL);
        ::_exit(0);
    }
    std::thread([grace, exit_code] {
        std::this_thread::sleep_for(grace);
        std::_Exit(exit_code);
    }).detach();
}

std::string seconds_text(milliseconds time) {
    return fmt::format("{:g} s", static_cast<double>(time.count()) / 1000);
}

/// What is known of the neighbours.
struct Neighbours {
    Line previous;
    Line next;
    std::string name;  ///< of the previous one: "rank 1 on node7"
    std::string own_name;
    std::shared_ptr<const Activity> activity;
    Note last{};  ///< that was heard of the previous one
    Clock::time_point heard = Clock::now();
    std::optional<Clock::time_point> lost = std::nullopt;  ///< when its line closed
    bool left = false;                                     ///< with a farewell
};

}  // namespace

class JobWatch::Thread {
  public:
    Thread(WatchLimits limits, Speak speak) : limits_(limits), speak_(std::move(speak)) {
        thread_ = std::thread([this] { run(); });
    }

    ~Thread() {
        {
            const std::lock_guard lock(mutex_);
            leaving_ = true;
        }
        wake();
        thread_.join();
    }
    Thread(const Thread&) = delete;
    Thread& operator=(const Thread&) = delete;

    void expect_meeting(int rank, milliseconds limit) {
        const std::lock_guard lock(mutex_);
        rank_ = rank;
        meet_by_ = Clock::now() + limit + (rank == 0 ? milliseconds(0) : first_word);
        wake();
    }

    void watch(Neighbours neighbours) {
        const std::lock_guard lock(mutex_);
        meet_by_.reset();
        neighbours_.emplace(std::move(neighbours));
        wake();
    }

    /// True when another rank's end is known or becomes known soon; false after having told the neighbours.
    bool echoes_or_leaves(int exit_code) {
        std::unique_lock lock(mutex_);
        if (heard_end_.wait_for(lock, echo, [this] { return ending_; })) return true;
        tell(Kind::ending);
        ending_ = true;
        end_after(limits_.grace, exit_code);
        return false;
    }

  private:
    void wake() const {
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof(one));
    }

    milliseconds period() const { return std::min(milliseconds(250), limits_.silence / 4); }

    void run() {
        auto next_word = Clock::now();
        for (auto before = Clock::now();;) {
            wait_until(next_word);
            const std::lock_guard lock(mutex_);
            const auto now = Clock::now();
            if (leaving_ || ending_) {
                if (!ending_) tell(Kind::farewell);
                return;
            }
            // This process itself was stopped, or its host slept: the silence is its own.
            if (neighbours_ && now - before > limits_.silence / 2) neighbours_->heard = now;
            before = now;
            if (neighbours_) listen(now);
            if (now >= next_word) {
                tell(Kind::alive);
                next_word = now + period();
            }
            if (const std::string message = ending_ ? "" : judge(now); !message.empty()) end(message);
        }
    }

    void wait_until(Clock::time_point when) {
        pollfd entries[3] = {{wake_.get(), POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}};
        auto limit = std::chrono::duration_cast<milliseconds>(when - Clock::now());
        {
            const std::lock_guard lock(mutex_);
            if (neighbours_) {
                entries[1].fd = neighbours_->previous.number();
                entries[2].fd = neighbours_->next.number();
                if (neighbours_->lost && !neighbours_->left) limit = std::min(limit, end_of_all / 4);
            }
        }
        ::poll(entries, 3, static_cast<int>(std::max<std::int64_t>(0, limit.count() + 1)));
        std::uint64_t count = 0;
        [[maybe_unused]] const auto read = ::read(wake_.get(), &count, sizeof(count));
    }

    void tell(Kind kind) {
        if (!neighbours_) return;
        const Note note = Note::of(kind, neighbours_->activity->look());
        neighbours_->next.send(note);
        if (kind != Kind::alive) neighbours_->previous.send(note);
    }

    void listen(Clock::time_point now) {
        Neighbours& n = *neighbours_;
        bool over = false;
        for (const Note& note : n.previous.receive()) {
            if (note.kind == Kind::alive) n.last = note;
            if (note.kind == Kind::farewell) n.left = true;
            over |= note.kind == Kind::ending;
            n.heard = now;
        }
        for (const Note& note : n.next.receive()) over |= note.kind == Kind::ending;
        if (!n.previous.open() && !n.lost) n.lost = now;
        if (!over) return;
        tell(Kind::ending);
        end_after(limits_.grace, 1);
        ending_ = true;
        heard_end_.notify_all();
    }

    /// What ends the job, or nothing.
    std::string judge(Clock::time_point now) const {
        if (meet_by_ && now >= *meet_by_) {
            return fmt::format(
                "the ranks started, but did not come to talk within {} (--heartbeat_timeout). Do the hosts reach one "
                "another on the network that MPI chose? (mpirun --mca btl_tcp_if_include NETWORK names one.) The job "
                "ends.",
                seconds_text(limits_.silence));
        }
        if (!neighbours_ || neighbours_->left) return "";
        const Neighbours& n = *neighbours_;
        const Activity::Snapshot own = n.activity->look();
        const char* last = n.last.doing.data();
        const auto witness = [&] { return fmt::format("{} was at {}", n.own_name, own.text()); };
        if (n.lost) {
            if (now - *n.lost < end_of_all) return "";
            return fmt::format("{} died (killed, or crashed), last heard of at {}. {}. The job ends.", n.name, last,
                               witness());
        }
        const auto patience = limits_.silence + (rank_ == 0 ? milliseconds(0) : first_word);
        if (now - n.heard >= patience) {
            return fmt::format(
                "{} has not been heard of for {} (--heartbeat_timeout): it is stopped, or its host is off or cannot be "
                "reached; last heard of at {}. {}. The job ends.",
                n.name, seconds_text(limits_.silence), last, witness());
        }
        const bool lives = now - n.heard < limits_.silence / 2;
        if (lives && *own.waiting_for != '\0' && n.last.waits < own.waits && now - own.waiting_since >= limits_.wait) {
            return fmt::format("{} lives but has not come to {} for {} (--ddp_timeout); it is at {}. {}. The job ends.",
                               n.name, own.waiting_for, seconds_text(limits_.wait), last, witness());
        }
        return "";
    }

    /// With the mutex held, for good: nothing else is to happen in this process.
    [[noreturn]] void end(const std::string& message) {
        ending_ = true;
        heard_end_.notify_all();
        end_after(limits_.grace, 1);
        tell(Kind::ending);
        speak_(message);
        abort_job(1);
    }

    WatchLimits limits_;
    Speak speak_;
    Descriptor wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    std::mutex mutex_;
    std::condition_variable heard_end_;
    bool leaving_ = false;
    bool ending_ = false;  ///< somebody has spoken, or is about to
    int rank_ = 0;
    std::optional<Clock::time_point> meet_by_;
    std::optional<Neighbours> neighbours_;
    std::thread thread_;
};

JobWatch::JobWatch(WatchLimits limits, Speak speak) : limits_(limits) {
    if (limits.silence.count() > 0) thread_ = std::make_unique<Thread>(limits, std::move(speak));
}

JobWatch::~JobWatch() = default;

void JobWatch::expect_meeting(int rank) {
    if (thread_) thread_->expect_meeting(rank, limits_.silence);
}

void JobWatch::watch(Communicator& communicator) {
    if (!thread_) return;
    const int rank = communicator.rank();
    const int before = (rank + communicator.size() - 1) % communicator.size();
    thread_->expect_meeting(rank, 2 * limits_.silence);  // connecting has a limit of its own and says more
    if (communicator.size() == 1) {
        thread_.reset();
        return;
    }
    const auto hosts = communicator.all_gather_bytes(communicator.host());
    Ring ring = connect_ring(communicator, limits_.silence);
    const auto name = [&](int r) { return fmt::format("rank {} on {}", r, hosts[static_cast<std::size_t>(r)]); };
    thread_->watch({Line(std::move(ring.previous)), Line(std::move(ring.next)), name(before), name(rank),
                    communicator.shared_activity()});
}

void JobWatch::leave_after_failure(int exit_code) {
    if (thread_ && thread_->echoes_or_leaves(exit_code)) {
        std::this_thread::sleep_for(2 * limits_.grace);  // the watch ends the process before that
        std::_Exit(exit_code);
    }
}

}  // namespace strata::dist
