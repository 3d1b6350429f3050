// Prefix sums: a tree of chunk sums, a launch per level on the way up and on the way down.
#pragma once

#include <cstdint>

#include "../../cell.h"

namespace a3d {

constexpr int64_t kChunk = 64;

A3D_HD int64_t chunks_of(int64_t n) { return (n + kChunk - 1) / kChunk; }

// above[c]: sum of chunk c of the level below.
struct SumChunks {
  const int64_t* values;
  int64_t n;
  int64_t* above;

  A3D_MEMBER int64_t size() const { return chunks_of(n); }
  A3D_MEMBER void operator()(int64_t c) const {
    const int64_t stop = (c + 1) * kChunk < n ? (c + 1) * kChunk : n;
    int64_t sum = 0;
    for (int64_t i = c * kChunk; i < stop; ++i) sum += values[i];
    above[c] = sum;
  }
};

// Turns values into the sums of what precedes them. above: such sums of the chunks, or null at the
// top, which is one chunk; total then takes the sum of all.
struct SpreadChunks {
  int64_t* values;
  int64_t n;
  const int64_t* above;
  int64_t* total;

  A3D_MEMBER int64_t size() const { return above ? chunks_of(n) : 1; }
  A3D_MEMBER void operator()(int64_t c) const {
    const int64_t stop = (c + 1) * kChunk < n ? (c + 1) * kChunk : n;
    int64_t sum = above ? above[c] : 0;
    for (int64_t i = c * kChunk; i < stop; ++i) {
      const int64_t value = values[i];
      values[i] = sum;
      sum += value;
    }
    if (!above) *total = sum;
  }
};

}  // namespace a3d
