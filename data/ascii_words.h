// The words of plain ASCII text, found 64 bytes at a time: no table of Unicode is asked.
//
// What data/bert_normalizer.h says of ASCII, as arithmetic on bytes: letters and digits make words, every other visible
// character is a word of its own, space, tab, CR and LF part them. Control characters and bytes above 127 are left to
// the general way.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace strata::data {

class AsciiWords {
  public:
    static constexpr std::size_t most = 1024;   // bytes of text held at once
    static constexpr std::size_t padding = 16;  // bytes behind every word that may be read (PieceTable's keys)

    /// Takes as much from the beginning of `text` as fits, up to the end of a word. Returns the bytes taken: 0 when the
    /// text is not plain ASCII so far, or begins with a word longer than `most`.
    std::size_t load(std::string_view text, bool lower_case);

    /// Calls word(std::string_view) for every word of what was loaded, in order.
    template <typename Word>
    void for_each(Word&& word) const {
        for (std::size_t at = next(words_, alone_, 0); at < size_;) {
            std::size_t end = at + 1;
            if (!bit(alone_, at)) end = end_of_word(at);
            word(std::string_view(bytes_.data() + at, end - at));
            at = next(words_, alone_, end);
        }
    }

  private:
    using Bits = std::array<std::uint64_t, most / 64 + 1>;  // bit i of word i / 64; none set from size_ on

    static bool bit(const Bits& bits, std::size_t at) { return (bits[at / 64] >> (at % 64) & 1) != 0; }

    /// The first bit of either from `from` on; at least size_ when there is none.
    std::size_t next(const Bits& a, const Bits& b, std::size_t from) const {
        if (from >= size_) return size_;
        std::size_t block = from / 64;
        std::uint64_t rest = (a[block] | b[block]) >> (from % 64);
        if (rest != 0) return from + static_cast<std::size_t>(std::countr_zero(rest));
        while (++block * 64 < size_) {
            rest = a[block] | b[block];
            if (rest != 0) return block * 64 + static_cast<std::size_t>(std::countr_zero(rest));
        }
        return size_;
    }

    std::size_t end_of_word(std::size_t from) const {
        std::size_t block = from / 64;
        const std::uint64_t rest = ~words_[block] >> (from % 64);
        if (rest != 0) return from + static_cast<std::size_t>(std::countr_zero(rest));
        while (~words_[++block] == 0) {
        }
        return block * 64 + static_cast<std::size_t>(std::countr_one(words_[block]));
    }

    bool classify(bool lower_case);

    alignas(64) std::array<char, most + 64> bytes_;  // lower case where asked; zeros behind the text
    Bits words_;
    Bits alone_;  // a word of one byte
    std::size_t size_ = 0;
};

}  // namespace strata::data
