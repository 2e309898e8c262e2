#include "data/lower_case.h"

#include <unicode/uchar.h>

namespace strata::data {
namespace {

struct CaseRange {
    UChar32 first;
    UChar32 last;
    UChar32 lower;  // of `first`; the rest follow in order
};

// Unicode 16 and 17, which Rust knows and the ICU of a stable distribution (72: Unicode 15) does not.
constexpr CaseRange newer_ranges[] = {
    {0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x0264},    {0xA7CC, 0xA7CC, 0xA7CD}, {0xA7CE, 0xA7CE, 0xA7CF},
    {0xA7D2, 0xA7D2, 0xA7D3},    {0xA7D4, 0xA7D4, 0xA7D5},    {0xA7DA, 0xA7DA, 0xA7DB}, {0xA7DC, 0xA7DC, 0x019B},
    {0x10D50, 0x10D65, 0x10D70}, {0x16EA0, 0x16EB8, 0x16EBB},
};

}  // namespace

UChar32 simple_lower_case(UChar32 code_point) {
    const UChar32 lower = u_tolower(code_point);
    if (lower != code_point || code_point < newer_ranges[0].first) return lower;
    for (const auto& range : newer_ranges) {
        if (code_point >= range.first && code_point <= range.last) return range.lower + (code_point - range.first);
    }
    return code_point;
}

}  // namespace strata::data
