// Keys of points whose order bounds that of their scores, for a part of the work of the scores.
//
// The largest score of a voxel matters only if it may be among the best k of the scan, which keys
// tell of all but a few points. A key is the bits of a float >= 0, hence in the order of the numbers:
// an entropy (in bits) that the score does not exceed, or the gap between the two largest logits,
// which bounds the margin from both sides.
#pragma once

#include "point_scores.h"

namespace a3d {
namespace {

#if defined(A3D_TILES)

// Of rough_exp() over exp(), which it is never below.
constexpr float kMostExcess = 1.0616f;
constexpr float kSlack = 1e-3f;  // bits; more than all rounding

// exp(x) with a straight line between powers of two, for -87 <= x <= 87.
A3D_INLINE Floats rough_exp(Floats x) {
  constexpr float kOne = 1065353216.0f;  // the bits of 1.0f, as a number
  const Floats bits = times_plus(x, Floats{} + 12102203.0f, Floats{} + kOne);
  return same_bits<Floats>(__builtin_convertvector(bits, Ints));
}

// Entropies that those of kLanes rows do not exceed; `poison` is NaN where a logit is not finite. Where
// the largest logit of a row is far from 0, nothing is said and `beyond` is true.
A3D_INLINE Floats most_entropy(const float* in, int classes, Floats& poison, bool& beyond) {
  constexpr float kMostLogit = 25.0f, kLeastLogit = -80.0f;
  Floats first = Floats{} - INFINITY, z{}, s{};
  each_column(in, classes, [&](int, Floats x) __attribute__((always_inline)) {
    first = highest(first, x);
    const Floats e = rough_exp(highest(Floats{} + kLeastLogit, x));  // NaN stays NaN
    z += e;
    s = times_plus(e, x, s);
  });
  poison = s * Floats{};
  const Floats size = highest(first, -first);
  beyond = false;
  for (int i = 0; i < kLanes; ++i) beyond |= !(size[i] <= kMostLogit);
  constexpr float kScale = 137438953472.0f;  // 2^37: what log2_poly() gets is above 1
  Ints whole;
  Floats fraction;
  log2_poly(z * kScale, whole, fraction);
  const Floats bits = __builtin_convertvector(whole - 37, Floats) + fraction - first * 1.44269504f;
  const Floats mean = (first - s / z) * 1.44269504f;
  return highest(bits + mean * kMostExcess + kSlack, Floats{});
}

// Keys of some rows of logits. False: a logit that is not finite.
template <bool kEntropy>
A3D_NOINLINE bool key_rows(const float* logits, int64_t rows, int classes, uint32_t* out) {
  Floats poison{};
  float left[kMostClasses * kLanes];
  for (int64_t r = 0; r < rows; r += kLanes) {
    const int64_t count = least<int64_t>(kLanes, rows - r);
    const float* const tile = whole_tile(logits + r * classes, count, classes, left);
    fetch_ahead(logits + r * classes, kLanes * classes);
    Floats key;
    if (kEntropy) {
      Floats bad;
      bool beyond;
      key = most_entropy(tile, classes, bad, beyond);
      if (A3D_UNLIKELY(beyond)) {
        int64_t scores[kLanes];
        if (!score_rows<true, false>(tile, kLanes, classes, scores, scores)) return false;
        for (int i = 0; i < kLanes; ++i) key[i] = float(double(scores[i]) / kScoreOne) + kSlack;
      } else {
        poison += bad;
      }
    } else {
      Largest2 largest;
      each_column(tile, classes,
                  [&](int, Floats x) __attribute__((always_inline)) { largest.add(x); });
      key = largest.first - largest.second;
      poison += largest.poison;
    }
    memcpy(out + r, &key, size_t(count) * sizeof(uint32_t));
  }
  return all_zero(poison);
}

// Largest gap with which a margin may be as low as this. With e = exp(-gap), the margin of some
// classes is at least (1 - e) / (1 + (classes - 1) e).
inline float most_gap(double margin, int classes) {
  const double m = margin * 1.0001 + 2e-6;
  return m < 1 ? float(-log((1 - m) / (1 + (classes - 1) * m)) * 1.0001 + 1e-6) : INFINITY;
}

#endif

}  // namespace
}  // namespace a3d
