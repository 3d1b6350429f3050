// Arithmetic of the scores that every compiled path shares. The same sequence of IEEE operations on
// every device: no library calls, no fused multiply-adds (-ffp-contract=off, --fmad=false).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cell.h"

namespace a3d {

constexpr double kScoreOne = 4294967296.0;  // of fixed-point scores, per bit and per unit
constexpr float kLowestGap = -87.0f;        // exp of it is 1.6e-38, still a normal number
constexpr int kFold = 4;                    // classes that are summed in float32

// The functions below take one float or, in GCC and Clang, a vector of them (one row a lane):
// Lanes<F> names the types that go with it. Lanes do not meet, so the bits are the same.
template <class F>
struct Lanes;
template <>
struct Lanes<float> {
  using Bits = uint32_t;
  using Int = int32_t;
  using Wide = double;
  using Long = int64_t;
};

template <class To, class From>
A3D_HD To same_bits(From x) {
  static_assert(sizeof(To) == sizeof(From), "a cast of bits");
  To out;
  memcpy(&out, &x, sizeof out);
  return out;
}

// static_cast, lane by lane.
template <class To, class From>
A3D_HD To converted(From x) {
#if defined(__GNUC__) && !defined(__CUDACC__)
  if constexpr (!std::is_arithmetic<From>::value) return __builtin_convertvector(x, To);
  else
#endif
    return To(x);
}

template <class F>
A3D_HD F larger(F a, F b) {
  return a > b ? a : b;
}

template <class F>
A3D_HD F smaller(F a, F b) {
  return a > b ? b : a;
}

// exp(x) for kLowestGap <= x <= 0: relative error below 9e-8, exactly 1 at 0. x = n ln 2 + r, and a
// polynomial (minimax, of degree 6) on |r| <= ln(2) / 2, in short chains that can run side by side.
template <class F>
A3D_HD F exp_poly(F x) {
  using Bits = typename Lanes<F>::Bits;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: a sum with it has no fraction bits
  const F shifted = x * 1.44269504f + kRound;
  const F n = shifted - kRound;
  const F r = (x - n * 0.693359375f) - n * -2.12194440e-4f;  // n * 0.693359375 is exact
  const F r2 = r * r;
  const F low = 0.16666521f * r + 0.49999994f;
  const F high = (0.0083687352f * r + 0.041668389f) + 0.0013814560f * r2;
  const F p = (high * r2 + low) * r2 + r + 1.0f;
  return same_bits<F>(same_bits<Bits>(p) + (same_bits<Bits>(shifted) << 23));  // p * 2^n
}

// log2(x) for finite x >= 1 is `whole` + `fraction`, to be added in float64: error below 7e-8.
// x = 2^n m with sqrt(1/2) <= m < sqrt(2), and a minimax polynomial in m - 1, in short chains.
template <class F>
A3D_HD void log2_poly(F x, typename Lanes<F>::Int& whole, F& fraction) {
  using Bits = typename Lanes<F>::Bits;
  using Int = typename Lanes<F>::Int;
  const Bits n = (same_bits<Bits>(x) - 0x3F3504F3u) >> 23;
  const F f = same_bits<F>(same_bits<Bits>(x) - (n << 23)) - 1.0f;
  const F f2 = f * f;
  const F a = -0.72134715f * f + 1.4426949f;
  const F b = -0.36072123f * f + 0.48092258f;
  const F c = -0.23851831f * f + 0.28765529f;
  const F d = (-0.21031465f * f + 0.21739091f) + 0.12539509f * f2;
  whole = same_bits<Int>(n);
  fraction = ((d * f2 + c) * (f2 * f2) + (b * f2 + a)) * f;
}

// x (double, or its vector) in multiples of 1 / kScoreOne, |x| < 2^18; the nearest, halves to even.
template <class Long, class Wide>
A3D_HD Long to_fixed(Wide x) {
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  return same_bits<Long>(x * kScoreOne + kRound) - same_bits<int64_t>(kRound);
}

// Softmax entropy in bits and margin (gap between the two likeliest classes; 1 for one class) of a
// row of finite logits, in fixed point: within 5e-7 of exact values for 1 to 255 classes. row(c)
// gives a logit. With m the largest, d_c = max(l_c - m, kLowestGap), e_c = exp(d_c), Z = sum e_c and
// S = sum e_c d_c:  entropy = log2(Z) - S / Z * log2(e),  margin = (1 - e of the second largest) / Z.
// Classes are added in ascending order, kFold of them in float32 and those sums in float64: one
// float32 sum is off by up to 1.6e-6 bit for 20 classes and 3e-5 for 255.
template <class Load>
A3D_HD void point_scores(Load row, int classes,
                         typename Lanes<decltype(row(0))>::Long& entropy,
                         typename Lanes<decltype(row(0))>::Long& margin) {
  using F = decltype(row(0));
  using Wide = typename Lanes<F>::Wide;
  using Long = typename Lanes<F>::Long;
  const F lowest = F{} + kLowestGap;
  F first = row(0), second = F{} - INFINITY;
  for (int c = 1; c < classes; ++c) {
    const F logit = row(c);
    second = larger(smaller(logit, first), second);
    first = larger(logit, first);
  }
  Wide z{}, s{};
  for (int begin = 0; begin < classes; begin += kFold) {
    const int end = begin + kFold < classes ? begin + kFold : classes;
    F part_z{}, part_s{};
    for (int c = begin; c < end; ++c) {
      const F d = larger(row(c) - first, lowest);
      const F e = exp_poly(d);
      part_z += e;
      part_s += e * d;
    }
    z += converted<Wide>(part_z);
    s += converted<Wide>(part_s);
  }
  const F e = exp_poly(larger(second - first, lowest));
  typename Lanes<F>::Int whole;
  F fraction;
  log2_poly(converted<F>(z), whole, fraction);
  const Wide bits = converted<Wide>(whole) + converted<Wide>(fraction);
  entropy = to_fixed<Long>(bits - s / z * 1.4426950408889634);
  margin = to_fixed<Long>(converted<Wide>(1.0f - e) / z);
}

// Entropy of a histogram in 2^-32 bit: total = T[n], parts = sum of T[h_c], see reference.confusion.
A3D_HD int64_t entropy(int64_t total, int64_t parts, int64_t n) {
  return n > 0 ? (total - parts) / n : 0;
}

A3D_HD uint64_t splitmix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// Orders equally good voxels; lower as int64 comes first. See reference.tie_hash.
A3D_HD uint64_t tie_hash(int64_t seed, const Cell& cell) {
  uint64_t state = splitmix64(uint64_t(seed));
  state = splitmix64(state ^ uint64_t(int64_t(cell.x)));
  state = splitmix64(state ^ uint64_t(int64_t(cell.y)));
  return splitmix64(state ^ uint64_t(int64_t(cell.z)));
}

// Whether a voxel is asked before another: higher score, lower tie hash, lower first point.
A3D_HD bool before(int64_t score, uint64_t hash, int64_t first, int64_t other_score,
                   uint64_t other_hash, int64_t other_first) {
  if (score != other_score) return score > other_score;
  if (hash != other_hash) return int64_t(hash) < int64_t(other_hash);
  return first < other_first;
}

// Whether the centre of the cell lies within a horizontal distance whose square is max_range2.
A3D_HD bool in_range(const Cell& cell, float size, double max_range2) {
  const double x = (double(cell.x) + 0.5) * double(size);
  const double y = (double(cell.y) + 0.5) * double(size);
  return x * x + y * y <= max_range2;
}

}  // namespace a3d
