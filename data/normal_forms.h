// What each code point becomes when a text is normalised, looked up in constant time, wherever that depends on no
// neighbour: all but the few marks that canonical ordering may move and that stay in the text.
//
// Pages of 256 code points are made when the first text needs one, by whichever thread comes first: a tokenizer that
// meets ASCII alone makes none. Any number of threads may ask at once.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string_view>

namespace strata::data {

struct NormalForm {
    enum class Kind : std::uint8_t {
        nothing,  // is dropped
        space,    // parts words
        part,     // goes on with a word
        alone,    // is a word of its own
        unknown,  // depends on neighbours, or on more than fits here: normalise the whole text
    };
    static constexpr std::size_t most_bytes = 13;

    Kind kind = Kind::nothing;
    std::uint8_t characters = 0;
    std::uint8_t size = 0;
    std::array<char, most_bytes> bytes{};  // UTF-8

    std::string_view text() const { return {bytes.data(), size}; }
};

class NormalForms {
  public:
    using Maker = std::function<NormalForm(std::int32_t code_point)>;

    /// `maker` is asked once or more for each code point of a page, by any thread.
    explicit NormalForms(Maker maker) : maker_(std::move(maker)) {}
    ~NormalForms();
    NormalForms(const NormalForms&) = delete;
    NormalForms& operator=(const NormalForms&) = delete;

    const NormalForm& of(std::int32_t code_point) const {
        const auto index = static_cast<std::size_t>(code_point);
        const Page* page = pages_[index / page_size].load(std::memory_order_acquire);
        if (page == nullptr) [[unlikely]]
            page = make_page(index / page_size);
        return (*page)[index % page_size];
    }

  private:
    static constexpr std::size_t page_size = 256;
    static constexpr std::size_t code_points = 0x110000;
    using Page = std::array<NormalForm, page_size>;

    const Page* make_page(std::size_t number) const;

    Maker maker_;
    mutable std::array<std::atomic<Page*>, code_points / page_size> pages_{};
};

}  // namespace strata::data
