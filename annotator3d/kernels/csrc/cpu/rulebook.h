// Reading a rulebook: which input row meets which output row under which kernel offset.
#pragma once

#include "basics.h"
#include "variant.h"

namespace a3d {
namespace {

inline int64_t blocks_of(const A3dRulebook& r) {
  return (r.outputs + r.block_rows - 1) / r.block_rows;
}

inline int64_t pairs_of(const A3dRulebook& r) { return r.starts[blocks_of(r) * r.offsets]; }

// Its lists cover its pairs.
inline bool ends_are_sound(const A3dRulebook& r) { return r.starts[0] == 0 && pairs_of(r) == r.pairs; }

// All numbers lie in low..high.
inline bool within(const int32_t* numbers, int64_t length, int32_t low, int32_t high) {
  int bad = 0;
  for (int64_t i = 0; i < length; ++i) bad |= int(numbers[i] < low) | int(numbers[i] > high);
  return !bad;
}

// Its pairs lie within the rulebook, its rows where they may.
inline bool block_is_sound(const A3dRulebook& r, int64_t block) {
  const int64_t* const starts = r.starts + block * r.offsets;
  for (int64_t k = 0; k < r.offsets; ++k)
    if (starts[k] < 0 || starts[k + 1] < starts[k] || starts[k + 1] > r.pairs) return false;
  const int64_t begin = starts[0], pairs = starts[r.offsets] - begin;
  const int64_t first = block * r.block_rows;
  const int64_t last = least(first + r.block_rows, r.outputs) - 1;
  return within(r.rows_in + begin, pairs, 0, int32_t(r.inputs - 1)) &&
         within(r.rows_out + begin, pairs, int32_t(first), int32_t(last));
}

// Threads that are worth their start for so many multiply-adds.
inline int64_t worth_threads(int64_t work, int64_t threads) {
  constexpr int64_t kWorkOfThread = 1 << 20;
  return least(threads, work / kWorkOfThread + 1);
}

}  // namespace
}  // namespace a3d
