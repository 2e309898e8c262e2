#include "data/code_point_classes.h"

#include <unicode/umutablecptrie.h>

#include "core/error.h"

namespace strata::data {
namespace {

struct ClassRange {
    UChar32 first;
    UChar32 last;
    CodePointClass kind;
};

constexpr ClassRange class_ranges[] = {
#include "data/code_point_classes.inc"
};

void check(UErrorCode status, const char* action) {
    if (U_FAILURE(status)) system_error("ICU cannot {}: {}", action, u_errorName(status));
}

}  // namespace

CodePointClasses::CodePointClasses() {
    UErrorCode status = U_ZERO_ERROR;
    const icu::LocalUMutableCPTriePointer ranges(umutablecptrie_open(0, 0, &status));
    for (const auto& range : class_ranges) {
        umutablecptrie_setRange(ranges.getAlias(), range.first, range.last, static_cast<std::uint32_t>(range.kind),
                                &status);
    }
    trie_.adoptInstead(
        umutablecptrie_buildImmutable(ranges.getAlias(), UCPTRIE_TYPE_FAST, UCPTRIE_VALUE_BITS_8, &status));
    check(status, "build the table of character classes");
}

}  // namespace strata::data
