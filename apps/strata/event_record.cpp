#include "apps/strata/event_record.h"

#include <array>
#include <bit>

namespace strata::app {
namespace {

constexpr std::array<std::uint32_t, 256> make_crc_table() {
    constexpr std::uint32_t polynomial = 0x82F63B78;  // 0x1EDC6F41, its bits reversed
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? polynomial : 0);
        table[byte] = crc;
    }
    return table;
}

constexpr std::array<std::uint32_t, 256> crc_table = make_crc_table();

/// Records hold checksums masked, since a checksum of bytes that contain their own checksum is a poor one.
std::uint32_t masked_crc(std::string_view bytes) {
    return std::rotr(crc32c(bytes), 15) + 0xA282EAD8;
}

template <typename Unsigned>
std::string little_endian(Unsigned value) {
    std::string bytes;
    for (std::size_t i = 0; i < sizeof(value); ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
    return bytes;
}

std::string varint(std::uint64_t value) {
    std::string bytes;
    for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7F) | 0x80);
    return bytes + static_cast<char>(value);
}

// A field is its key, the number and how the value is laid out, and then the value.
enum class Wire : std::uint64_t { varint = 0, eight_bytes = 1, counted = 2, four_bytes = 5 };

std::string key(std::uint64_t field, Wire wire) {
    return varint(field << 3 | static_cast<std::uint64_t>(wire));
}

std::string number_field(std::uint64_t field, std::int64_t value) {
    return value == 0 ? "" : key(field, Wire::varint) + varint(static_cast<std::uint64_t>(value));  // 0 is the default
}

std::string double_field(std::uint64_t field, double value) {
    return key(field, Wire::eight_bytes) + little_endian(std::bit_cast<std::uint64_t>(value));
}

std::string float_field(std::uint64_t field, float value) {
    return key(field, Wire::four_bytes) + little_endian(std::bit_cast<std::uint32_t>(value));
}

std::string counted_field(std::uint64_t field, std::string_view value) {
    return key(field, Wire::counted) + varint(value.size()) + std::string(value);
}

/// Event: wall_time = 1, step = 2, then one of file_version = 3, summary = 5, session_log = 7.
std::string event_record(double wall_time, std::int64_t step, std::uint64_t what, std::string_view content) {
    const std::string event = double_field(1, wall_time) + number_field(2, step) + counted_field(what, content);
    const std::string length = little_endian(std::uint64_t{event.size()});
    return length + little_endian(masked_crc(length)) + event + little_endian(masked_crc(event));
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
    std::uint32_t crc = 0xFFFFFFFF;
    for (const char byte : bytes) crc = (crc >> 8) ^ crc_table[(crc ^ static_cast<unsigned char>(byte)) & 0xFF];
    return ~crc;
}

std::string version_record(double wall_time) {
    return event_record(wall_time, 0, 3, "brain.Event:2");
}

std::string start_record(double wall_time, std::int64_t first_step) {
    constexpr std::int64_t start = 1;
    return event_record(wall_time, first_step, 7, number_field(1, start));
}

std::string scalars_record(double wall_time, std::int64_t step, std::span<const Scalar> scalars) {
    std::string summary;  // value = 1, each with tag = 1 and simple_value = 2
    for (const Scalar& scalar : scalars) {
        const std::string value = counted_field(1, scalar.tag) + float_field(2, static_cast<float>(scalar.value));
        summary += counted_field(1, value);
    }
    return event_record(wall_time, step, 5, summary);
}

}  // namespace strata::app
