// Many pieces of parted buffers as one packed buffer, and sums over ranks in the order of ranks: the bodies of the
// kernels, as functions of (tables, rank, thread) for host and device (parts_cuda.cu launches them, a test walks them).
//
// A packed part is what one rank brings of all pieces, one after another; a packed buffer holds every rank's at equal
// distances. The table of pieces travels with the launch, so nothing is allocated or copied for it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "optim/host_device.h"

namespace strata::dist {

struct KernelPiece {
    std::byte* data = nullptr;  // rank 0's part
    std::byte* into = nullptr;  // where the own part's sum goes to; null: it replaces the own part
    std::int64_t stride = 0;    // elements from one rank's part to the next one's
    std::int64_t first = 0;     // the place in the packed part of its first element
    bool adds = true;           // to what lies in `into`
};

/// Some pieces that follow one another: elements [begin, end) of the packed part.
struct PieceTable {
    static constexpr int capacity = 64;  // two and a half kilobytes of a launch's arguments

    KernelPiece pieces[capacity];
    int count = 0;
    int own = 0;  // this rank
    std::int64_t begin = 0;
    std::int64_t end = 0;
    std::int64_t part_stride = 0;  // elements from one rank's packed part to the next one's
};

enum class PartsCopy { own_into_packed, all_into_packed, others_from_packed };

/// Where the terms of the sums are: rank r's at packed + r * part_stride, but `own`'s in the pieces. A sum that is made
/// already is one term, of which no rank's is the own.
struct SumTerms {
    const std::byte* packed = nullptr;
    int count = 0;
    int own = -1;
};

STRATA_HOST_DEVICE const KernelPiece& piece_at(const PieceTable& table, std::int64_t element) {
    int low = 0;
    int high = table.count - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (table.pieces[middle].first <= element) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return table.pieces[low];
}

/// `thread` of `threads`' elements of one rank's part. Word has the elements' size.
template <typename Word>
STRATA_HOST_DEVICE void copy_body(const PieceTable& table, PartsCopy copy, std::byte* packed, int rank,
                                  std::int64_t thread, std::int64_t threads) {
    if (copy == PartsCopy::own_into_packed && rank != table.own) return;
    if (copy == PartsCopy::others_from_packed && rank == table.own) return;
    Word* const part = reinterpret_cast<Word*>(packed) + rank * table.part_stride;
    for (std::int64_t i = table.begin + thread; i < table.end; i += threads) {
        const KernelPiece& piece = piece_at(table, i);
        Word* const there = reinterpret_cast<Word*>(piece.data) + rank * piece.stride + (i - piece.first);
        if (copy == PartsCopy::others_from_packed) {
            *there = part[i];
        } else {
            part[i] = *there;
        }
    }
}

/// The own part's sums: what `into` holds, if the piece adds, then term after term, in Sum, which is what `into` is of:
/// fp32 for 16-bit elements, else the elements' own type. Without `into` rounded to Float once, at the end.
template <typename Float, typename Sum>
STRATA_HOST_DEVICE void sum_body(const PieceTable& table, const SumTerms& terms, std::int64_t thread,
                                 std::int64_t threads) {
    const Float* const packed = reinterpret_cast<const Float*>(terms.packed);
    for (std::int64_t i = table.begin + thread; i < table.end; i += threads) {
        const KernelPiece& piece = piece_at(table, i);
        Float* const own = reinterpret_cast<Float*>(piece.data) + table.own * piece.stride + (i - piece.first);
        Sum* const into = piece.into == nullptr ? nullptr : reinterpret_cast<Sum*>(piece.into) + (i - piece.first);
        const bool held = into != nullptr && piece.adds;
        Sum sum = held ? *into : Sum(0);
        for (int term = 0; term < terms.count; ++term) {
            const Sum value = static_cast<Sum>(term == terms.own ? *own : packed[term * table.part_stride + i]);
            sum = !held && term == 0 ? value : sum + value;
        }
        if (into == nullptr) {
            *own = static_cast<Float>(sum);
        } else {
            *into = sum;
        }
    }
}

}  // namespace strata::dist
