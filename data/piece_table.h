// Tokens to ids: a flat hash table whose keys, up to 15 bytes, lie in the slots themselves.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace strata::data {

class PieceTable {
  public:
    /// Makes room for so many tokens; the most that will be inserted.
    explicit PieceTable(std::size_t tokens);

    /// False, and nothing changed, when the token is there already. A longer token than 15 bytes is kept as a view.
    bool insert(std::string_view token, std::int32_t id);

    std::optional<std::int32_t> find(std::string_view token) const {
        if (token.size() > longest_inline || token.empty()) return find_long(token);
        char bytes[16] = {};
        std::memcpy(bytes, token.data(), token.size());
        return find(key_of(bytes, token.size()));
    }

    /// The same for a token that is not empty and of which 16 bytes may be read: no copy of unknown length.
    std::optional<std::int32_t> find_padded(std::string_view token) const {
        if (token.size() > longest_inline) return find_long(token);
        return find(key_of(token.data(), token.size()));
    }

    std::size_t size() const { return size_; }

  private:
    static constexpr std::size_t longest_inline = 15;

    struct Key {
        std::uint64_t low;
        std::uint64_t high;  // its top byte is the length, so no key is zero
    };
    struct Slot {
        Key key;
        std::int32_t id;
    };

    static Key key_of(const char* bytes, std::size_t size) {
        Key key;
        std::memcpy(&key, bytes, sizeof(key));
        if (size < 8) {
            key.low &= (std::uint64_t{1} << (8 * size)) - 1;
            key.high = 0;
        } else {
            key.high &= (std::uint64_t{1} << (8 * (size - 8))) - 1;
        }
        key.high |= static_cast<std::uint64_t>(size) << 56;
        return key;
    }

    std::size_t first_slot(const Key& key) const {
        const std::uint64_t mixed = (key.low ^ (key.high * 0x9E3779B97F4A7C15u)) * 0xD6E8FEB86659FD93u;
        return mixed >> shift_;
    }

    std::optional<std::int32_t> find(const Key& key) const {
        for (std::size_t at = first_slot(key);; at = (at + 1) & mask_) {
            const Slot& slot = slots_[at];
            if (slot.key.low == key.low && slot.key.high == key.high) return slot.id;
            if (slot.key.high == 0) return std::nullopt;
        }
    }

    std::optional<std::int32_t> find_long(std::string_view token) const;

    std::vector<Slot> slots_;  // a power of two, at most half full, so every search ends
    std::size_t mask_;
    int shift_;
    std::size_t size_ = 0;
    std::unordered_map<std::string_view, std::int32_t> long_;
};

}  // namespace strata::data
