// AMX where there is none: while a TileProcessor lives, the instructions that models/tile_products.cpp is made of are
// carried out by a signal handler, as compiled (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2;
// chapter 18 of volume 1). On a processor that has them, and lets this process, it does nothing.
#pragma once

#include <csignal>

namespace strata::tests {

class TileProcessor {
  public:
    TileProcessor();
    ~TileProcessor();
    TileProcessor(const TileProcessor&) = delete;
    TileProcessor& operator=(const TileProcessor&) = delete;

  private:
    struct sigaction before_ {};
    bool plays_;
};

}  // namespace strata::tests
