#include "data/piece_table.h"

#include <algorithm>
#include <bit>

namespace strata::data {

PieceTable::PieceTable(std::size_t tokens)
    : slots_(std::bit_ceil(std::max<std::size_t>(2 * tokens, 16))),
      mask_(slots_.size() - 1),
      shift_(64 - std::countr_zero(slots_.size())) {}

bool PieceTable::insert(std::string_view token, std::int32_t id) {
    if (find(token)) return false;
    ++size_;
    if (token.size() > longest_inline) return long_.emplace(token, id).second;
    char bytes[16] = {};
    std::memcpy(bytes, token.data(), token.size());
    const Key key = key_of(bytes, token.size());
    std::size_t at = first_slot(key);
    while (slots_[at].key.high != 0) at = (at + 1) & mask_;
    slots_[at] = {key, id};
    return true;
}

std::optional<std::int32_t> PieceTable::find_long(std::string_view token) const {
    const auto found = long_.find(token);
    if (found == long_.end()) return std::nullopt;
    return found->second;
}

}  // namespace strata::data
