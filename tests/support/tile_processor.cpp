#include "tests/support/tile_processor.h"

#include "models/tile_products.h"

#if defined(__x86_64__)

#include <ucontext.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace strata::tests {
namespace {

constexpr int tiles = 8, most_rows = 16, most_bytes = 64;

/// A thread's: rows and bytes of a row in use are 0 where none is configured.
struct Tile {
    int rows, bytes;
    alignas(64) std::uint8_t data[most_rows][most_bytes];
};
thread_local Tile state[tiles];

[[noreturn]] void fail(std::string_view what) {
    [[maybe_unused]] const auto ignored = write(STDERR_FILENO, what.data(), what.size());
    std::abort();
}

Tile& configured(int index) {
    if (index >= tiles || state[index].rows == 0) fail("a tile is used that is not configured\n");
    return state[index];
}

// ---- reading an instruction ----

std::int64_t general_register(const ucontext_t& context, int index) {
    static constexpr int places[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                       REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return context.uc_mcontext.gregs[places[index]];
}

template <typename T>
T read(const std::uint8_t* from) {
    T value;
    std::memcpy(&value, from, sizeof(value));
    return value;
}

/// Behind a three-byte VEX prefix, of the map 0F38.
struct Instruction {
    std::uint8_t prefix, opcode;  // prefix: none, 66, F3, F2
    int reg, rm, third;           // of ModRM, and of VEX
    bool in_memory;
    std::uint8_t* base = nullptr;  // with the displacement
    std::int64_t index = 0;        // scaled
    std::int64_t size;             // bytes
};

/// Base, index and displacement; returns the bytes from ModRM on.
std::int64_t read_address(const ucontext_t& context, const std::uint8_t* modrm, bool index_high, bool base_high,
                          Instruction& to) {
    const int mode = modrm[0] >> 6;
    const std::uint8_t* next = modrm + 1;
    int base = to.rm;
    if (base == 4) {
        const std::uint8_t sib = *next++;
        const int index = (sib >> 3 & 7) | (index_high ? 8 : 0);
        if (index != 4) to.index = general_register(context, index) << (sib >> 6);
        base = sib & 7;
    }
    const bool without_base = mode == 0 && base == 5;
    const std::int64_t displacement = mode == 1                   ? read<std::int8_t>(next)
                                      : mode == 2 || without_base ? read<std::int32_t>(next)
                                                                  : 0;
    next += mode == 1 ? 1 : mode == 2 || without_base ? 4 : 0;
    // Without a base and without an index it counts from the instruction's end.
    const std::int64_t from = !without_base ? general_register(context, base | (base_high ? 8 : 0))
                              : to.rm == 5  ? reinterpret_cast<std::int64_t>(next)
                                            : 0;
    to.base = reinterpret_cast<std::uint8_t*>(from + displacement);
    return next - modrm;
}

bool read_instruction(const ucontext_t& context, Instruction& to) {
    const auto* const code = reinterpret_cast<const std::uint8_t*>(context.uc_mcontext.gregs[REG_RIP]);
    if (code[0] != 0xC4 || (code[1] & 0x1F) != 2 || (code[2] & 0x84) != 0) return false;
    to.prefix = code[2] & 3;
    to.opcode = code[3];
    to.third = ~code[2] >> 3 & 15;
    to.reg = (code[4] >> 3 & 7) | ((code[1] & 0x80) != 0 ? 0 : 8);
    to.rm = code[4] & 7;
    to.in_memory = code[4] >> 6 != 3;
    const bool index_high = (code[1] & 0x40) == 0, base_high = (code[1] & 0x20) == 0;
    to.size = 4 + (to.in_memory ? read_address(context, code + 4, index_high, base_high, to) : 1);
    if (!to.in_memory && base_high) to.rm |= 8;
    return true;
}

// ---- carrying it out ----

void configure(const std::uint8_t* from) {
    if (from[0] != 1 || from[1] != 0) fail("not palette 1 from its first row\n");
    for (int i = 0; i < tiles; ++i) {
        state[i] = {};
        state[i].bytes = read<std::uint16_t>(from + 16 + 2 * i);
        state[i].rows = from[48 + i];
        if (state[i].bytes > most_bytes || state[i].rows > most_rows) fail("a tile is configured too large\n");
    }
}

void load(Tile& tile, const Instruction& from) {
    std::memset(tile.data, 0, sizeof(tile.data));
    for (int r = 0; r < tile.rows; ++r) {
        std::memcpy(tile.data[r], from.base + r * from.index, static_cast<std::size_t>(tile.bytes));
    }
}

void store(const Tile& tile, const Instruction& to) {
    for (int r = 0; r < tile.rows; ++r) {
        std::memcpy(to.base + r * to.index, tile.data[r], static_cast<std::size_t>(tile.bytes));
    }
}

/// What is below 2^-126 counts as zero.
float flushed(float x) {
    return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0F, x) : x;
}

float widened(const std::uint8_t* from) {
    const std::uint32_t bits = static_cast<std::uint32_t>(read<std::uint16_t>(from)) << 16;
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    return flushed(x);
}

void multiply(Tile& sums, const Tile& left, const Tile& right) {
    if (left.rows != sums.rows || right.bytes != sums.bytes || left.bytes / 4 != right.rows)
        fail("tiles that do not fit are multiplied\n");
    for (int m = 0; m < sums.rows; ++m) {
        float halves[most_bytes / 4][2] = {};
        for (int k = 0; k < right.rows; ++k) {
            const float first = widened(left.data[m] + 4 * k), second = widened(left.data[m] + 4 * k + 2);
            for (int n = 0; n < sums.bytes / 4; ++n) {
                halves[n][0] = flushed(std::fma(first, widened(right.data[k] + 4 * n), halves[n][0]));
                halves[n][1] = flushed(std::fma(second, widened(right.data[k] + 4 * n + 2), halves[n][1]));
            }
        }
        for (int n = 0; n < sums.bytes / 4; ++n) {
            const float sum =
                flushed(flushed(read<float>(sums.data[m] + 4 * n)) + flushed(halves[n][0] + halves[n][1]));
            std::memcpy(sums.data[m] + 4 * n, &sum, sizeof(sum));
        }
    }
}

bool carry_out(const Instruction& it) {
    enum : std::uint8_t { none, p66, pF3, pF2 };
    if (it.opcode == 0x49 && it.prefix == none && it.in_memory) {
        configure(it.base);
    } else if (it.opcode == 0x49 && it.prefix == none) {  // TILERELEASE
        for (Tile& tile : state) tile = {};
    } else if (it.opcode == 0x49 && it.prefix == pF2) {  // TILEZERO
        std::memset(configured(it.reg).data, 0, sizeof(Tile::data));
    } else if (it.opcode == 0x4B && it.prefix == pF2) {  // TILELOADD
        load(configured(it.reg), it);
    } else if (it.opcode == 0x4B && it.prefix == pF3) {  // TILESTORED
        store(configured(it.reg), it);
    } else if (it.opcode == 0x5C && it.prefix == pF3) {  // TDPBF16PS
        multiply(configured(it.reg), configured(it.rm), configured(it.third));
    } else {
        return false;
    }
    return true;
}

void handle(int, siginfo_t*, void* its_context) {
    auto& context = *static_cast<ucontext_t*>(its_context);
    Instruction instruction;
    if (!read_instruction(context, instruction) || !carry_out(instruction))
        fail("an illegal instruction that is none of a tile's\n");
    context.uc_mcontext.gregs[REG_RIP] += instruction.size;
}

}  // namespace

TileProcessor::TileProcessor() : plays_(models::tile_products() == nullptr) {
    if (!plays_) return;
    struct sigaction action {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGILL, &action, &before_);
}

TileProcessor::~TileProcessor() {
    if (plays_) sigaction(SIGILL, &before_, nullptr);
}

}  // namespace strata::tests

#else

namespace strata::tests {

TileProcessor::TileProcessor() : plays_(false) {}
TileProcessor::~TileProcessor() = default;

}  // namespace strata::tests

#endif
