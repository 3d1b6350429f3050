// Entropy and margin of points from their logits, a tile of rows at a time.
#pragma once

#include "../arith.h"
#include "basics.h"

namespace a3d {
namespace {

constexpr int kMostClasses = 255;

#if defined(A3D_SSE2) && defined(__GNUC__)
#define A3D_TILES 1
#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
#define A3D_VECTOR(type, bytes) type __attribute__((vector_size(bytes)))
typedef A3D_VECTOR(float, 4 * kLanes) Floats;  // a row a lane
typedef A3D_VECTOR(uint32_t, 4 * kLanes) Words;
typedef A3D_VECTOR(int32_t, 4 * kLanes) Ints;
typedef A3D_VECTOR(double, 4 * kLanes) Doubles;  // of half as many rows
typedef A3D_VECTOR(int64_t, 4 * kLanes) Longs;
#endif

}  // namespace

#if defined(A3D_TILES)
template <>
struct Lanes<Floats> {
  using Bits = Words;
  using Int = Ints;
};
#endif

namespace {

#if defined(A3D_TILES)

struct Wide {  // of all rows
  Doubles half[2];
};

A3D_INLINE Wide widened(Floats x) {
#if defined(__AVX512F__)
  const __m512d high = _mm512_castps_pd((__m512)x);
  return {{(Doubles)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)x)),
           (Doubles)_mm512_cvtps_pd(_mm256_castpd_ps(_mm512_extractf64x4_pd(high, 1)))}};
#elif defined(__AVX__)
  return {{(Doubles)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)x)),
           (Doubles)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)x, 1))}};
#else
  return {{(Doubles)_mm_cvtps_pd((__m128)x),
           (Doubles)_mm_cvtps_pd(_mm_movehl_ps((__m128)x, (__m128)x))}};
#endif
}

A3D_INLINE Floats narrowed(const Wide& x) {
#if defined(__AVX512F__)
  const __m512d low = _mm512_castps_pd(_mm512_castps256_ps512(_mm512_cvtpd_ps((__m512d)x.half[0])));
  const __m256d high = _mm256_castps_pd(_mm512_cvtpd_ps((__m512d)x.half[1]));
  return (Floats)_mm512_castpd_ps(_mm512_insertf64x4(low, high, 1));
#elif defined(__AVX__)
  return (Floats)_mm256_set_m128(_mm256_cvtpd_ps((__m256d)x.half[1]),
                                 _mm256_cvtpd_ps((__m256d)x.half[0]));
#else
  return (Floats)_mm_movelh_ps(_mm_cvtpd_ps((__m128d)x.half[0]), _mm_cvtpd_ps((__m128d)x.half[1]));
#endif
}

#if defined(__AVX512F__)
A3D_INLINE Floats highest(Floats a, Floats b) { return (Floats)_mm512_max_ps((__m512)a, (__m512)b); }
A3D_INLINE Floats lowest(Floats a, Floats b) { return (Floats)_mm512_min_ps((__m512)a, (__m512)b); }
#elif defined(__AVX__)
A3D_INLINE Floats highest(Floats a, Floats b) { return (Floats)_mm256_max_ps((__m256)a, (__m256)b); }
A3D_INLINE Floats lowest(Floats a, Floats b) { return (Floats)_mm256_min_ps((__m256)a, (__m256)b); }
#else
A3D_INLINE Floats highest(Floats a, Floats b) { return (Floats)_mm_max_ps((__m128)a, (__m128)b); }
A3D_INLINE Floats lowest(Floats a, Floats b) { return (Floats)_mm_min_ps((__m128)a, (__m128)b); }
#endif

// a * b + c, rounded once where that is quick: for what need not be the same bits everywhere.
A3D_INLINE Floats times_plus(Floats a, Floats b, Floats c) {
#if defined(__AVX512F__)
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

// Four columns of kLanes rows, of which `in` is the first number.
A3D_INLINE void turn(const float* in, int classes, Floats (&columns)[4]) {
#if defined(__AVX512F__)
#define A3D_ROWS(i)                                                                      \
  _mm512_insertf32x4(                                                                    \
      _mm512_insertf32x4(                                                                \
          _mm512_insertf32x4(_mm512_castps128_ps512(_mm_loadu_ps(in + (i) * classes)),   \
                             _mm_loadu_ps(in + ((i) + 4) * classes), 1),                 \
          _mm_loadu_ps(in + ((i) + 8) * classes), 2),                                    \
      _mm_loadu_ps(in + ((i) + 12) * classes), 3)
#define A3D_DO(name, ...) _mm512_##name(__VA_ARGS__)
  typedef __m512 Row;
#elif defined(__AVX__)
#define A3D_ROWS(i)                                                                \
  _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(in + (i) * classes)),   \
                       _mm_loadu_ps(in + ((i) + 4) * classes), 1)
#define A3D_DO(name, ...) _mm256_##name(__VA_ARGS__)
  typedef __m256 Row;
#else
#define A3D_ROWS(i) _mm_loadu_ps(in + (i) * classes)
#define A3D_DO(name, ...) _mm_##name(__VA_ARGS__)
  typedef __m128 Row;
#endif
  const Row a = A3D_ROWS(0), b = A3D_ROWS(1), c = A3D_ROWS(2), d = A3D_ROWS(3);
  const Row ab = A3D_DO(unpacklo_ps, a, b), AB = A3D_DO(unpackhi_ps, a, b);
  const Row cd = A3D_DO(unpacklo_ps, c, d), CD = A3D_DO(unpackhi_ps, c, d);
  columns[0] = (Floats)A3D_DO(shuffle_ps, ab, cd, 0x44);
  columns[1] = (Floats)A3D_DO(shuffle_ps, ab, cd, 0xEE);
  columns[2] = (Floats)A3D_DO(shuffle_ps, AB, CD, 0x44);
  columns[3] = (Floats)A3D_DO(shuffle_ps, AB, CD, 0xEE);
#undef A3D_DO
#undef A3D_ROWS
}

// visit(c, x) for the logits x of each class c of kLanes rows.
template <class Visit>
A3D_INLINE void each_column(const float* in, int classes, Visit visit) {
  Floats four[4];
  int c = 0;
  for (; c + 4 <= classes; c += 4) {
    turn(in + c, classes, four);
    for (int i = 0; i < 4; ++i) visit(c + i, four[i]);
  }
  if (c == classes) return;
  if (classes >= 4) turn(in + classes - 4, classes, four);  // and of these the last ones
  for (; c < classes; ++c) {
    Floats x;
    if (classes >= 4) x = four[c - classes + 4];
    else
      for (int row = 0; row < kLanes; ++row) x[row] = in[row * classes + c];
    visit(c, x);
  }
}

// The two largest of some logits of each row.
struct Largest2 {
  Floats first = Floats{} - INFINITY, second = Floats{} - INFINITY, poison{};

  A3D_INLINE void add(Floats x) {
    poison = times_plus(x, Floats{}, poison);  // 0 * x is NaN if x is not finite
    second = highest(second, lowest(first, x));
    first = highest(first, x);
  }
};

// kLanes rows of logits: a column a class, and the two largest of each row.
struct Tile {
  Floats column[kMostClasses];
  Floats first, second, poison;

  A3D_INLINE void take(const float* in, int classes) {
    Largest2 largest;
    each_column(in, classes, [&](int c, Floats x) __attribute__((always_inline)) {
      column[c] = x;
      largest.add(x);
    });
    first = largest.first;
    second = largest.second;
    poison = largest.poison;
  }
};

// The next kClasses classes of the sums Z and S of point_scores(): of e, and of e * d.
template <int kClasses, bool kEntropy>
A3D_INLINE void add_classes(const Floats* column, Floats first, Wide& z, Wide& s) {
  Floats d[kClasses], e[kClasses];
  for (int c = 0; c < kClasses; ++c) d[c] = highest(column[c] - first, Floats{} + kLowestGap);
  for (int c = 0; c < kClasses; ++c) e[c] = exp_poly(d[c]);
  Floats part_z = e[0], part_s = e[0] * d[0];
  for (int c = 1; c < kClasses; ++c) {
    part_z += e[c];
    part_s += e[c] * d[c];
  }
  const Wide wide_z = widened(part_z), wide_s = widened(part_s);
  for (int i = 0; i < 2; ++i) {
    z.half[i] += wide_z.half[i];
    if (kEntropy) s.half[i] += wide_s.half[i];
  }
}

// The operations of point_scores() for kLanes rows, in the same order, so with the same bits; a
// score whose pointer is null is not computed.
template <bool kEntropy, bool kMargin>
A3D_INLINE void score_tile(const Tile& tile, int classes, int64_t* entropy, int64_t* margin) {
  const Floats first = tile.first;
  const Floats* column = tile.column;
  Wide z{}, s{};
  const Floats* const last = column + classes / kFold * kFold;
  for (; column != last; column += kFold) add_classes<kFold, kEntropy>(column, first, z, s);
  static_assert(kFold == 4, "what may be left");
  if (classes % kFold == 3) add_classes<3, kEntropy>(column, first, z, s);
  if (classes % kFold == 2) add_classes<2, kEntropy>(column, first, z, s);
  if (classes % kFold == 1) add_classes<1, kEntropy>(column, first, z, s);
  if (kEntropy) {
    Ints whole;
    Floats fraction;
    log2_poly(narrowed(z), whole, fraction);
    const Wide a = widened(__builtin_convertvector(whole, Floats)), b = widened(fraction);
    for (int i = 0; i < 2; ++i) {
      const Doubles bits = (a.half[i] + b.half[i]) - s.half[i] / z.half[i] * 1.4426950408889634;
      const Longs fixed = to_fixed<Longs>(bits);
      memcpy(entropy + i * (kLanes / 2), &fixed, sizeof fixed);
    }
  }
  if (kMargin) {
    const Floats gap = highest(tile.second - first, Floats{} + kLowestGap);
    const Wide rest = widened(1.0f - exp_poly(gap));
    for (int i = 0; i < 2; ++i) {
      const Longs fixed = to_fixed<Longs>(rest.half[i] / z.half[i]);
      memcpy(margin + i * (kLanes / 2), &fixed, sizeof fixed);
    }
  }
}

// kLanes rows from where `rows` are left: the last one again in place of those beyond.
inline const float* whole_tile(const float* logits, int64_t rows, int classes, float* copy) {
  if (rows >= kLanes) return logits;
  for (int64_t i = 0; i < kLanes; ++i)
    memcpy(copy + i * classes, logits + least(i, rows - 1) * classes, size_t(classes) * sizeof(float));
  return copy;
}

inline bool all_zero(Floats x) {
  bool zero = true;
  for (int i = 0; i < kLanes; ++i) zero = zero & (x[i] == 0);
  return zero;
}

#endif

// Entropy and margin of some rows of logits. False: a logit that is not finite.
template <bool kEntropy, bool kMargin>
A3D_NOINLINE bool score_rows(const float* logits, int64_t rows, int classes, int64_t* entropy,
                             int64_t* margin) {
#if defined(A3D_TILES)
  Tile tile;
  Floats poison{};
  int64_t r = 0;
  for (; r + kLanes <= rows; r += kLanes) {
    tile.take(logits + r * classes, classes);
    poison += tile.poison;
    score_tile<kEntropy, kMargin>(tile, classes, entropy + r, margin + r);
  }
  if (r < rows) {
    float left[kMostClasses * kLanes];
    int64_t scores[2][kLanes];
    tile.take(whole_tile(logits + r * classes, rows - r, classes, left), classes);
    poison += tile.poison;
    score_tile<kEntropy, kMargin>(tile, classes, scores[0], scores[1]);
    const size_t bytes = size_t(rows - r) * sizeof(int64_t);
    if (kEntropy) memcpy(entropy + r, scores[0], bytes);
    if (kMargin) memcpy(margin + r, scores[1], bytes);
  }
  return all_zero(poison);
#else
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = logits + r * classes;
    float poison = 0;
    for (int c = 0; c < classes; ++c) poison += row[c] * 0;
    if (!(poison == 0)) return false;  // NaN too
    int64_t scores[2];
    point_scores([=](int c) { return row[c]; }, classes, scores[0], scores[1]);
    if (kEntropy) entropy[r] = scores[0];
    if (kMargin) margin[r] = scores[1];
  }
  return true;
#endif
}

}  // namespace
}  // namespace a3d
