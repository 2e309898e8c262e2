#include "data/ascii_words.h"

#include <algorithm>
#include <cstring>

namespace strata::data {
namespace {

using Byte = std::uint8_t;

static_assert(std::endian::native == std::endian::little, "gather_bits takes the first byte as the lowest");

/// Bit i is the top bit of byte i.
std::uint64_t gather_bits(const Byte* flags) {
    std::uint64_t bits = 0;
    for (unsigned group = 0; group < 8; ++group) {
        std::uint64_t eight = 0;
        std::memcpy(&eight, flags + 8 * group, sizeof(eight));
        bits |= ((eight >> 7 & 0x0101010101010101u) * 0x0102040810204080u >> 56) << (8 * group);
    }
    return bits;
}

/// 255 where first <= byte <= last, else 0. One comparison, and so one instruction for many bytes.
constexpr Byte in_range(Byte byte, Byte first, Byte last) {
    return static_cast<Byte>(byte - first) <= static_cast<Byte>(last - first) ? 255 : 0;
}

}  // namespace

bool AsciiWords::classify(bool lower_case) {
    const Byte case_bit = lower_case ? 0x20 : 0;
    for (std::size_t begin = 0; begin < size_; begin += 64) {
        alignas(64) Byte word[64];
        alignas(64) Byte alone[64];
        alignas(64) Byte refused[64];
        char* bytes = bytes_.data() + begin;
        for (std::size_t i = 0; i < 64; ++i) {
            const auto byte = static_cast<Byte>(bytes[i]);
            const Byte letter = in_range(byte | 0x20, 'a', 'z');
            const Byte visible = in_range(byte, '!', '~');
            const Byte space = in_range(byte, ' ', ' ') | in_range(byte, '\t', '\n') | in_range(byte, '\r', '\r');
            word[i] = letter | in_range(byte, '0', '9');
            alone[i] = static_cast<Byte>(visible & ~word[i]);
            refused[i] = static_cast<Byte>(~(visible | space));
            bytes[i] = static_cast<char>(byte | (letter & case_bit));
        }
        const std::size_t valid = std::min<std::size_t>(size_ - begin, 64);
        const std::uint64_t mask = ~std::uint64_t{0} >> (64 - valid);
        if ((gather_bits(refused) & mask) != 0) return false;
        words_[begin / 64] = gather_bits(word) & mask;
        alone_[begin / 64] = gather_bits(alone) & mask;
    }
    return true;
}

std::size_t AsciiWords::load(std::string_view text, bool lower_case) {
    size_ = std::min(text.size(), most);
    std::memcpy(bytes_.data(), text.data(), size_);
    std::memset(bytes_.data() + size_, 0, 64);
    const std::size_t blocks = (size_ + 63) / 64;
    words_[blocks] = 0;
    alone_[blocks] = 0;
    if (!classify(lower_case)) return size_ = 0;
    if (size_ < text.size()) {
        // What comes next may go on with the last word: it begins the next load.
        while (size_ > 0 && bit(words_, size_ - 1)) {
            --size_;
            words_[size_ / 64] &= ~(std::uint64_t{1} << (size_ % 64));
        }
    }
    return size_;
}

}  // namespace strata::data
