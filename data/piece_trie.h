// A word cut into its longest pieces from left to right, in time linear in its bytes.
//
// Two tries in one array, of what words begin with and of what they go on with, with failure links: where a node has no
// child for the next byte, its link says which pieces the bytes so far are, and where in the second trie their rest
// stands (Song et al. 2021, "Fast WordPiece Tokenization", algorithms 1 and 2). Immutable once made.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace strata::data {

class PieceTrie {
  public:
    struct Piece {
        std::string_view text;  // not empty, valid UTF-8
        std::int32_t id;
    };

    /// What a word may begin with and what it may go on with; no text twice in either. The texts are not kept.
    PieceTrie(std::vector<Piece> beginnings, std::vector<Piece> continuations);

    /// Appends the ids of the word's pieces. False, and nothing appended, when a rest has none. `word` is valid UTF-8.
    bool append_pieces(std::string_view word, std::vector<std::int32_t>& ids) const;

    std::size_t nodes() const { return nodes_.size(); }

  private:
    using Index = std::uint32_t;
    static constexpr Index none = ~Index{0};
    static constexpr Index beginning = 0;     // the root for the first piece
    static constexpr Index continuation = 1;  // the root for all others

    struct Node {
        Index first_child = 0;  // children lie together, in the order of their bytes
        Index children = 0;
        Index link = none;    // where the rest of the bytes stands; none: they cannot be cut
        Index pieces = none;  // the last of those that the link cuts off
    };
    /// Lists of pieces share their beginnings, so that all of them together are linear in the vocabulary's bytes.
    struct PieceCell {
        std::int32_t id;
        Index previous;
        Index count;  // of this one and those before it
    };
    struct Builder;

    Index child(Index node, unsigned char byte) const;
    void append_cells(Index last, std::vector<std::int32_t>& ids) const;

    std::vector<Node> nodes_;            // in the order of their depth
    std::vector<unsigned char> labels_;  // the byte that leads to each node
    std::vector<PieceCell> cells_;
};

}  // namespace strata::data
