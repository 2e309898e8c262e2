#include "dist/ring.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/ranges.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

#include "dist/agreement.h"

namespace strata::dist {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr char welcome = '!';
constexpr milliseconds one_address{3000};  // for an address that does not answer

milliseconds left(Clock::time_point deadline) {
    return std::max(milliseconds(0), std::chrono::duration_cast<milliseconds>(deadline - Clock::now()));
}

bool ready(int socket, short events, Clock::time_point deadline) {
    pollfd entry{socket, events, 0};
    int found = -1;
    do {
        found = ::poll(&entry, 1, static_cast<int>(left(deadline).count()));
    } while (found < 0 && errno == EINTR);
    return found > 0;
}

bool receive(int socket, char* data, std::size_t size, Clock::time_point deadline) {
    while (size > 0) {
        if (!ready(socket, POLLIN, deadline)) return false;
        const auto got = ::recv(socket, data, size, 0);
        if (got <= 0) return false;
        data += got;
        size -= static_cast<std::size_t>(got);
    }
    return true;
}

void finish(const Socket& socket) {
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ::fcntl(socket.get(), F_SETFL, O_NONBLOCK);
}

std::string random_token() {
    unsigned char bytes[16] = {};
    if (::getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) throw_errno("random bytes");
    return fmt::format("{:02x}", fmt::join(bytes, ""));
}

/// Every address of this host that others may reach; link-local ones would need an interface's name with them.
std::vector<std::string> own_addresses() {
    std::vector<std::string> found;
    ifaddrs* first = nullptr;
    if (::getifaddrs(&first) != 0) return found;
    for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0 || (entry->ifa_flags & IFF_LOOPBACK) != 0)
            continue;
        const int family = entry->ifa_addr->sa_family;
        if (family != AF_INET && family != AF_INET6) continue;
        const auto size = static_cast<socklen_t>(family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
        char text[NI_MAXHOST] = "";
        if (::getnameinfo(entry->ifa_addr, size, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) != 0) continue;
        if (std::string_view(text).find('%') == std::string_view::npos) found.emplace_back(text);
    }
    ::freeifaddrs(first);
    return found;
}

/// Where a rank listens, as the other ranks are told.
struct Card {
    std::string host;
    std::string port;
    std::string token;
    std::vector<std::string> addresses;

    std::string text() const { return fmt::format("{} {} {} {}", host, port, token, fmt::join(addresses, " ")); }
    static Card from(const std::string& text) {
        std::istringstream words(text);
        Card card;
        words >> card.host >> card.port >> card.token;
        for (std::string address; words >> address;) card.addresses.push_back(address);
        return card;
    }
};

class Listener {
  public:
    Listener() {
        socket_ = Socket(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        const int off = 0;
        sockaddr_in6 both{};  // any address, IPv4's too
        both.sin6_family = AF_INET6;
        if (socket_.open()) ::setsockopt(socket_.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        if (!socket_.open() || ::bind(socket_.get(), reinterpret_cast<sockaddr*>(&both), sizeof(both)) != 0) {
            socket_ = Socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            sockaddr_in any{};
            any.sin_family = AF_INET;
            if (!socket_.open() || ::bind(socket_.get(), reinterpret_cast<sockaddr*>(&any), sizeof(any)) != 0)
                throw_errno("a socket for the next rank");
        }
        if (::listen(socket_.get(), 16) != 0) throw_errno("a socket for the next rank");
    }

    std::string port() const {
        sockaddr_storage name{};
        socklen_t size = sizeof(name);
        ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&name), &size);
        const bool six = name.ss_family == AF_INET6;
        return std::to_string(ntohs(six ? reinterpret_cast<sockaddr_in6&>(name).sin6_port
                                        : reinterpret_cast<sockaddr_in&>(name).sin_port));
    }

    /// The first caller that brings the token; nothing after the deadline.
    Socket accept(const std::string& token, Clock::time_point deadline) const {
        while (ready(socket_.get(), POLLIN, deadline)) {
            Socket caller(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (!caller.open()) continue;
            std::string heard(token.size(), '\0');
            const auto patience = std::min(deadline, Clock::now() + one_address);
            if (!receive(caller.get(), heard.data(), heard.size(), patience) || heard != token) continue;
            if (::send(caller.get(), &welcome, 1, MSG_NOSIGNAL) != 1) continue;
            finish(caller);
            return caller;
        }
        return Socket();
    }

  private:
    Socket socket_;
};

/// A connection to who holds the token at this address; nothing if there is none.
Socket call(const std::string& address, const Card& card, Clock::time_point deadline) {
    addrinfo wanted{};
    wanted.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    wanted.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(address.c_str(), card.port.c_str(), &wanted, &found) != 0) return Socket();
    Socket socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const bool begun =
        socket.open() && (::connect(socket.get(), found->ai_addr, found->ai_addrlen) == 0 || errno == EINPROGRESS);
    ::freeaddrinfo(found);
    int error = 0;
    socklen_t size = sizeof(error);
    char answer = '\0';
    if (!begun || !ready(socket.get(), POLLOUT, deadline) ||
        ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0 ||
        ::send(socket.get(), card.token.data(), card.token.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(card.token.size()) ||
        !receive(socket.get(), &answer, 1, deadline) || answer != welcome)
        return Socket();
    finish(socket);
    return socket;
}

Socket call_previous(const Card& card, const std::string& own_host, Clock::time_point deadline) {
    std::vector<std::string> addresses = card.addresses;
    if (card.host == own_host) addresses.insert(addresses.begin(), "127.0.0.1");
    do {
        for (const std::string& address : addresses) {
            Socket socket = call(address, card, std::min(deadline, Clock::now() + one_address));
            if (socket.open()) return socket;
        }
        std::this_thread::sleep_for(std::min(left(deadline), milliseconds(200)));
    } while (Clock::now() < deadline);
    return Socket();
}

}  // namespace

void Socket::close() {
    if (number_ >= 0) ::close(std::exchange(number_, -1));
}

Ring connect_ring(Communicator& communicator, milliseconds limit) {
    std::optional<Listener> listener;
    Card own{communicator.host(), "", "", own_addresses()};
    collectively(communicator, "listening for the next rank", [&] {
        listener.emplace();
        own.port = listener->port();
        own.token = random_token();
    });
    const auto cards = communicator.all_gather_bytes(own.text());
    const int neighbour = (communicator.rank() + communicator.size() - 1) % communicator.size();
    const Card card = Card::from(cards[static_cast<std::size_t>(neighbour)]);
    const auto deadline = Clock::now() + limit;
    Ring ring;
    std::thread host([&] { ring.next = listener->accept(own.token, deadline); });
    ring.previous = call_previous(card, own.host, deadline);
    host.join();
    collectively(communicator, "connecting to the neighbouring ranks", [&] {
        if (ring.previous.open()) return;
        system_error(
            "rank {} on {} does not answer on port {} of {}. Ranks watch one another over TCP: let it pass between the "
            "hosts, or go without (--heartbeat_timeout 0)",
            neighbour, card.host, card.port, fmt::join(card.addresses, ", "));
    });
    return ring;
}

}  // namespace strata::dist
