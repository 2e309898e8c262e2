#include "data/piece_trie.h"

#include <algorithm>
#include <cstring>

namespace strata::data {

/// What is needed only while the tries are made: each node's share of the sorted pieces.
struct PieceTrie::Builder {
    struct Range {
        Index begin;
        Index end;
        Index depth;
    };

    explicit Builder(PieceTrie& made) : trie(made) {}

    void add_root(std::vector<Piece> sorted) {
        std::sort(sorted.begin(), sorted.end(), [](const Piece& a, const Piece& b) { return a.text < b.text; });
        const auto begin = static_cast<Index>(pieces.size());
        pieces.insert(pieces.end(), sorted.begin(), sorted.end());
        add_node(0, none, {begin, static_cast<Index>(pieces.size()), 0});
    }

    void add_node(unsigned char label, Index parent, Range range) {
        trie.nodes_.emplace_back();
        trie.labels_.push_back(label);
        parents.push_back(parent);
        ranges.push_back(range);
    }

    /// Makes the node's children and its link. Nodes of less depth have theirs.
    void finish(Index node) {
        auto [begin, end, depth] = ranges[node];
        std::int32_t id = -1;
        if (depth > 0 && begin < end && pieces[begin].text.size() == depth) id = pieces[begin++].id;
        trie.nodes_[node].first_child = static_cast<Index>(trie.nodes_.size());
        for (Index at = begin; at < end;) {
            const char byte = pieces[at].text[depth];
            Index next = at + 1;
            while (next < end && pieces[next].text[depth] == byte) ++next;
            add_node(static_cast<unsigned char>(byte), node, {at, next, depth + 1});
            at = next;
        }
        Node& made = trie.nodes_[node];
        made.children = static_cast<Index>(trie.nodes_.size()) - made.first_child;
        if (depth > 0) link(made, trie.nodes_[parents[node]], trie.labels_[node], id);
    }

    void link(Node& node, const Node& parent, unsigned char byte, std::int32_t id) {
        if (id >= 0) {
            node.link = continuation;
            node.pieces = add_cell(id, none);
            return;
        }
        Index pieces_so_far = parent.pieces;
        for (Index at = parent.link; at != none; at = trie.nodes_[at].link) {
            const Index next = trie.child(at, byte);
            if (next != none) {
                node.link = next;
                node.pieces = pieces_so_far;
                return;
            }
            pieces_so_far = add_copy(trie.nodes_[at].pieces, pieces_so_far);
        }
    }

    Index add_cell(std::int32_t id, Index previous) {
        const Index before = previous == none ? 0 : trie.cells_[previous].count;
        trie.cells_.push_back({id, previous, before + 1});
        return static_cast<Index>(trie.cells_.size() - 1);
    }

    /// The list that ends with `last`, written out behind `previous`.
    Index add_copy(Index last, Index previous) {
        copied.clear();
        trie.append_cells(last, copied);
        for (const std::int32_t id : copied) previous = add_cell(id, previous);
        return previous;
    }

    PieceTrie& trie;
    std::vector<Piece> pieces;
    std::vector<Range> ranges;
    std::vector<Index> parents;
    std::vector<std::int32_t> copied;
};

PieceTrie::PieceTrie(std::vector<Piece> beginnings, std::vector<Piece> continuations) {
    Builder builder(*this);
    builder.add_root(std::move(beginnings));
    builder.add_root(std::move(continuations));
    for (Index node = 0; node < nodes_.size(); ++node) builder.finish(node);
}

PieceTrie::Index PieceTrie::child(Index node, unsigned char byte) const {
    constexpr Index few = 8;
    const Node& from = nodes_[node];
    const unsigned char* labels = labels_.data() + from.first_child;
    if (from.children <= few) {
        for (Index i = 0; i < from.children; ++i) {
            if (labels[i] == byte) return from.first_child + i;
        }
        return none;
    }
    const void* found = std::memchr(labels, byte, from.children);
    if (found == nullptr) return none;
    return from.first_child + static_cast<Index>(static_cast<const unsigned char*>(found) - labels);
}

void PieceTrie::append_cells(Index last, std::vector<std::int32_t>& ids) const {
    if (last == none) return;
    const std::size_t count = cells_[last].count;
    ids.resize(ids.size() + count);
    for (auto out = ids.rbegin(); last != none; last = cells_[last].previous) *out++ = cells_[last].id;
}

bool PieceTrie::append_pieces(std::string_view word, std::vector<std::int32_t>& ids) const {
    const std::size_t before = ids.size();
    Index node = beginning;
    const auto cut_off = [&] {
        const Node& from = nodes_[node];
        if (from.link == none) {
            ids.resize(before);
            return false;
        }
        append_cells(from.pieces, ids);
        node = from.link;
        return true;
    };
    for (const char byte : word) {
        Index next = child(node, static_cast<unsigned char>(byte));
        while (next == none) {
            if (!cut_off()) return false;
            next = child(node, static_cast<unsigned char>(byte));
        }
        node = next;
    }
    while (node != continuation) {
        if (!cut_off()) return false;
    }
    return true;
}

}  // namespace strata::data
