// Bounds of the entropy and the margin of points, for less than half of the work of the scores.
//
// The largest score of a voxel matters only if it may be among the best k of the scan, which bounds
// tell of all but a few points.
#pragma once

#include "point_scores.h"

namespace a3d {
namespace {

// An interval of a score, both ends >= 0, in an integer. The larger one has the larger upper end.
inline int64_t interval(float low, float high) {
  return int64_t(uint64_t(same_bits<uint32_t>(high)) << 32 | same_bits<uint32_t>(low));
}

// The ends as integers in the order of the numbers.
inline int64_t low_end(int64_t interval) { return int64_t(uint32_t(interval)); }
inline int64_t high_end(int64_t interval) { return interval >> 32; }

#if defined(A3D_TILES)

constexpr float kMostExcess = 1.0616f;  // of rough_exp() over exp(), which it is never below
constexpr float kMostExcessBits = 0.0862f;
constexpr float kSlack = 1e-4f;  // more than all rounding

// exp(x) with a straight line between powers of two, for kLowestGap <= x <= 0.
A3D_INLINE Floats rough_exp(Floats x) {
  constexpr float kOne = 1065353216.0f;  // the bits of 1.0f, as a number
  const Floats bits = times_plus(x, Floats{} + 12102203.0f, Floats{} + kOne);
  return same_bits<Floats>(__builtin_convertvector(bits, Ints));
}

// Intervals of the scores that point_scores() gives to some rows of logits, in bits (or units). False:
// a logit that is not finite.
template <bool kEntropy>
A3D_NOINLINE bool bound_rows(const float* logits, int64_t rows, int classes, int64_t* out) {
  Tile tile;
  Floats poison{};
  float left[kMostClasses * kLanes];
  for (int64_t r = 0; r < rows; r += kLanes) {
    tile.take(whole_tile(logits + r * classes, rows - r, classes, left), classes);
    poison += tile.poison;
    Floats z{}, s{};
    for (int c = 0; c < classes; ++c) {
      const Floats d = highest(tile.column[c] - tile.first, Floats{} + kLowestGap);
      const Floats e = rough_exp(d);
      z += e;
      if (kEntropy) s = times_plus(e, d, s);
    }
    Floats low, high;
    if (kEntropy) {
      Ints whole;
      Floats fraction;
      log2_poly(z, whole, fraction);
      const Floats bits = __builtin_convertvector(whole, Floats) + fraction;
      const Floats mean = s / z * -1.44269504f;
      high = bits + mean * kMostExcess;
      low = bits - kMostExcessBits + mean * (1 / kMostExcess);
    } else {
      low = (1.0f - exp_poly(highest(tile.second - tile.first, Floats{} + kLowestGap))) / z;
      high = low * kMostExcess;
    }
    high = high * (1 + kSlack) + kSlack;
    low = highest(low * (1 - kSlack) - kSlack, Floats{});
    for (int i = 0; i < least<int64_t>(kLanes, rows - r); ++i) out[r + i] = interval(low[i], high[i]);
  }
  return all_zero(poison);
}

#endif

}  // namespace
}  // namespace a3d
