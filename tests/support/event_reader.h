// Reads an event file back, checksums and all: as much of protobuf as strata writes. Throws std::runtime_error.
#pragma once

#include <bit>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "apps/strata/event_record.h"

namespace strata::testing_support {

struct ReadEvent {
    double wall_time = 0;
    std::int64_t step = 0;
    std::string file_version;
    std::string session_log;               ///< as bytes: "\x08\x01" is START
    std::map<std::string, float> scalars;  ///< by tag
};

/// Takes bytes off the front of a text.
class ByteReader {
  public:
    explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}
    bool done() const { return bytes_.empty(); }
    std::string_view take(std::uint64_t count) {
        if (count > bytes_.size()) throw std::runtime_error("cut short");
        const auto taken = bytes_.substr(0, count);
        bytes_.remove_prefix(count);
        return taken;
    }
    std::uint64_t fixed(int size) {
        const auto taken = take(static_cast<std::uint64_t>(size));
        std::uint64_t value = 0;
        for (int i = size; i-- > 0;)
            value = value << 8 | static_cast<unsigned char>(taken[static_cast<std::size_t>(i)]);
        return value;
    }
    std::uint64_t varint() {
        std::uint64_t value = 0;
        for (int shift = 0;; shift += 7) {
            const std::uint64_t byte = fixed(1);
            value |= (byte & 0x7F) << shift;
            if (byte < 0x80) return value;
        }
    }

  private:
    std::string_view bytes_;
};

inline double read_double(ByteReader& from) {
    return std::bit_cast<double>(from.fixed(8));
}

inline void read_value(std::string_view message, std::map<std::string, float>& into) {
    ByteReader from(message);
    if (from.varint() != 0x0A) throw std::runtime_error("a value begins with its tag");
    const std::string tag(from.take(from.varint()));
    if (from.varint() != 0x15) throw std::runtime_error("a simple_value follows");
    if (!into.emplace(tag, std::bit_cast<float>(static_cast<std::uint32_t>(from.fixed(4)))).second)
        throw std::runtime_error(tag + " is there twice");
    if (!from.done()) throw std::runtime_error("more in a value");
}

inline ReadEvent read_event(std::string_view message) {
    ReadEvent event;
    for (ByteReader from(message); !from.done();) {
        switch (from.varint()) {
            case 1 << 3 | 1:
                event.wall_time = read_double(from);
                break;
            case 2 << 3:
                event.step = static_cast<std::int64_t>(from.varint());
                break;
            case 3 << 3 | 2:
                event.file_version = from.take(from.varint());
                break;
            case 7 << 3 | 2:
                event.session_log = from.take(from.varint());
                break;
            case 5 << 3 | 2:
                for (ByteReader summary(from.take(from.varint())); !summary.done();) {
                    if (summary.varint() != 0x0A) throw std::runtime_error("a summary holds values");
                    read_value(summary.take(summary.varint()), event.scalars);
                }
                break;
            default:
                throw std::runtime_error("an unknown field");
        }
    }
    return event;
}

inline std::vector<ReadEvent> read_events(std::string_view bytes) {
    const auto check = [](std::string_view data, std::uint64_t masked) {
        const auto crc = static_cast<std::uint32_t>(masked - 0xA282EAD8);
        if ((crc << 15 | crc >> 17) != app::crc32c(data)) throw std::runtime_error("a checksum is wrong");
    };
    std::vector<ReadEvent> events;
    for (ByteReader from(bytes); !from.done();) {
        const auto length_bytes = from.take(8);
        check(length_bytes, from.fixed(4));
        const auto data = from.take(ByteReader(length_bytes).fixed(8));
        check(data, from.fixed(4));
        events.push_back(read_event(data));
    }
    return events;
}

}  // namespace strata::testing_support
