// Entropy and margin of points from their logits, a tile of rows at a time.
#pragma once

#include "../arith.h"
#include "basics.h"

namespace a3d {
namespace {

constexpr int kTile = 64;
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
typedef A3D_VECTOR(float, 4 * kLanes) Floats;
typedef A3D_VECTOR(uint32_t, 4 * kLanes) Words;
typedef A3D_VECTOR(float, 2 * kLanes) Half;  // as many as Doubles
typedef A3D_VECTOR(uint32_t, 2 * kLanes) HalfWords;
typedef A3D_VECTOR(int32_t, 2 * kLanes) HalfInts;
typedef A3D_VECTOR(double, 4 * kLanes) Doubles;
typedef A3D_VECTOR(int64_t, 4 * kLanes) Longs;
#endif

}  // namespace

#if defined(A3D_TILES)
template <>
struct Lanes<Floats> {
  using Bits = Words;
};
template <>
struct Lanes<Half> {
  using Bits = HalfWords;
  using Int = HalfInts;
  using Wide = Doubles;
  using Long = Longs;
};
#endif

namespace {

#if defined(A3D_TILES)

template <class Vector, class T>
inline Vector load(const T* p) {
  return *reinterpret_cast<const Vector*>(p);
}

template <class Vector, class T>
inline void store(T* p, Vector v) {
  *reinterpret_cast<Vector*>(p) = v;
}

// The two halves of a vector as doubles, added to sums in memory.
inline void add_to(double* sums, Floats x) {
#if defined(__AVX512F__)
  const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256((__m512)x));
  const __m512d high = _mm512_cvtps_pd(
      _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd((__m512)x), 1)));
#elif defined(__AVX__)
  const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128((__m256)x));
  const __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps((__m256)x, 1));
#else
  const __m128d low = _mm_cvtps_pd((__m128)x);
  const __m128d high = _mm_cvtps_pd(_mm_movehl_ps((__m128)x, (__m128)x));
#endif
  store(sums, load<Doubles>(sums) + (Doubles)low);
  store(sums + kLanes / 2, load<Doubles>(sums + kLanes / 2) + (Doubles)high);
}

inline Half narrowed(Doubles x) {
#if defined(__AVX512F__)
  return (Half)_mm512_cvtpd_ps((__m512d)x);
#elif defined(__AVX__)
  return (Half)_mm256_cvtpd_ps((__m256d)x);
#else
  return Half{float(x[0]), float(x[1])};
#endif
}

// tile[c][r] = in[r][c]
inline void transpose(const float* in, int classes, float* tile) {
  int c = 0;
  for (; c + 4 <= classes; c += 4)
    for (int r = 0; r < kTile; r += kLanes) {
      const float* p = in + int64_t(r) * classes + c;
      Floats turned[4];
#if defined(__AVX512F__)
#define A3D_ROWS(i)                                                                             \
  _mm512_insertf32x4(                                                                           \
      _mm512_insertf32x4(                                                                       \
          _mm512_insertf32x4(_mm512_castps128_ps512(_mm_loadu_ps(p + (i) * classes)),           \
                             _mm_loadu_ps(p + ((i) + 4) * classes), 1),                         \
          _mm_loadu_ps(p + ((i) + 8) * classes), 2),                                            \
      _mm_loadu_ps(p + ((i) + 12) * classes), 3)
      const __m512 a = A3D_ROWS(0), b = A3D_ROWS(1), d = A3D_ROWS(2), e = A3D_ROWS(3);
      const __m512 ab = _mm512_unpacklo_ps(a, b), AB = _mm512_unpackhi_ps(a, b);
      const __m512 de = _mm512_unpacklo_ps(d, e), DE = _mm512_unpackhi_ps(d, e);
      turned[0] = (Floats)_mm512_shuffle_ps(ab, de, 0x44);
      turned[1] = (Floats)_mm512_shuffle_ps(ab, de, 0xEE);
      turned[2] = (Floats)_mm512_shuffle_ps(AB, DE, 0x44);
      turned[3] = (Floats)_mm512_shuffle_ps(AB, DE, 0xEE);
#elif defined(__AVX__)
#define A3D_ROWS(i)                                                                    \
  _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + (i) * classes)),        \
                       _mm_loadu_ps(p + ((i) + 4) * classes), 1)
      const __m256 a = A3D_ROWS(0), b = A3D_ROWS(1), d = A3D_ROWS(2), e = A3D_ROWS(3);
      const __m256 ab = _mm256_unpacklo_ps(a, b), AB = _mm256_unpackhi_ps(a, b);
      const __m256 de = _mm256_unpacklo_ps(d, e), DE = _mm256_unpackhi_ps(d, e);
      turned[0] = (Floats)_mm256_shuffle_ps(ab, de, 0x44);
      turned[1] = (Floats)_mm256_shuffle_ps(ab, de, 0xEE);
      turned[2] = (Floats)_mm256_shuffle_ps(AB, DE, 0x44);
      turned[3] = (Floats)_mm256_shuffle_ps(AB, DE, 0xEE);
#else
#define A3D_ROWS(i) _mm_loadu_ps(p + (i) * classes)
      __m128 a = A3D_ROWS(0), b = A3D_ROWS(1), d = A3D_ROWS(2), e = A3D_ROWS(3);
      _MM_TRANSPOSE4_PS(a, b, d, e);
      turned[0] = (Floats)a;
      turned[1] = (Floats)b;
      turned[2] = (Floats)d;
      turned[3] = (Floats)e;
#endif
#undef A3D_ROWS
      for (int i = 0; i < 4; ++i) store(tile + (c + i) * kTile + r, turned[i]);
    }
  for (; c < classes; ++c)
    for (int r = 0; r < kTile; ++r) tile[c * kTile + r] = in[int64_t(r) * classes + c];
}

// The two largest logits of each row. False: one that is not finite.
inline bool two_largest(const float* tile, int classes, float* first, float* second) {
  Floats poison{};
  for (int r = 0; r < kTile; r += kLanes) {
    Floats top = load<Floats>(tile + r), next = Floats{} - INFINITY;
    poison += top * 0.0f;
    for (int c = 1; c < classes; ++c) {
      const Floats logit = load<Floats>(tile + c * kTile + r);
      poison += logit * 0.0f;
      const Floats lower = logit < top ? logit : top;
      next = lower > next ? lower : next;
      top = logit > top ? logit : top;
    }
    store(first + r, top);
    store(second + r, next);
  }
  bool finite = true;
  for (int i = 0; i < kLanes; ++i) finite = finite & (poison[i] == 0);
  return finite;
}

// Z and S of point_scores(): sums over the classes of e and e * d.
template <bool kEntropy>
inline void sum_up(const float* tile, int classes, const float* first, double* z, double* s) {
  const Floats lowest = Floats{} + kLowestGap;
  for (int begin = 0; begin < classes; begin += kFold) {
    const int fold = least(classes - begin, kFold);
    for (int r = 0; r < kTile; r += kLanes) {
      const float* p = tile + begin * kTile + r;
      const Floats top = load<Floats>(first + r);
      Floats d[kFold], e[kFold], part_z{}, part_s{};
      for (int c = 0; c < kFold; ++c) {  // of classes beyond, the last one again: not added
        const Floats gap = load<Floats>(p + least(c, fold - 1) * kTile) - top;
        d[c] = gap > lowest ? gap : lowest;
      }
      for (int c = 0; c < kFold; ++c) e[c] = exp_poly(d[c]);
      if (fold == kFold) {
        for (int c = 0; c < kFold; ++c) {
          part_z += e[c];
          if (kEntropy) part_s += e[c] * d[c];
        }
      } else {
        for (int c = 0; c < fold; ++c) {
          part_z += e[c];
          if (kEntropy) part_s += e[c] * d[c];
        }
      }
      add_to(z + r, part_z);
      if (kEntropy) add_to(s + r, part_s);
    }
  }
}

// The operations of point_scores() for each row of a tile, in the same order, so with the same
// bits; a score whose pointer is null is not computed. False: a logit that is not finite.
template <bool kEntropy, bool kMargin>
A3D_NOINLINE bool score_tile(const float* logits, int classes, int64_t* entropy, int64_t* margin) {
  alignas(64) float tile[kMostClasses * kTile], first[kTile], second[kTile];
  alignas(64) double z[kTile], s[kTile];
  transpose(logits, classes, tile);
  if (!two_largest(tile, classes, first, second)) return false;
  memset(z, 0, sizeof z);
  memset(s, 0, sizeof s);
  sum_up<kEntropy>(tile, classes, first, z, s);
  const Half lowest = Half{} + kLowestGap;
  for (int r = 0; r < kTile; r += kLanes / 2) {
    const Doubles sum = load<Doubles>(z + r);
    if (kEntropy) {
      const Doubles bits =
          log2_poly(narrowed(sum)) - load<Doubles>(s + r) / sum * 1.4426950408889634;
      const Longs fixed = to_fixed<Longs>(bits);
      memcpy(entropy + r, &fixed, sizeof fixed);
    }
    if (kMargin) {
      const Half gap = load<Half>(second + r) - load<Half>(first + r);
      const Half e = exp_poly(gap > lowest ? gap : lowest);
      const Longs fixed = to_fixed<Longs>(__builtin_convertvector(1.0f - e, Doubles) / sum);
      memcpy(margin + r, &fixed, sizeof fixed);
    }
  }
  return true;
}

#endif

// Entropy and margin of some rows of logits. False: a logit that is not finite.
template <bool kEntropy, bool kMargin>
A3D_NOINLINE bool score_rows(const float* logits, int64_t rows, int classes, int64_t* entropy,
                             int64_t* margin) {
#if defined(A3D_TILES)
  int64_t r = 0;
  for (; r + kTile <= rows; r += kTile)
    if (!score_tile<kEntropy, kMargin>(logits + r * classes, classes, entropy + (kEntropy ? r : 0), margin + (kMargin ? r : 0)))
      return false;
  if (r == rows) return true;
  float tile[kMostClasses * kTile];  // the rows that are left, and copies of the last one
  int64_t scores[2][kTile];
  for (int64_t i = 0; i < kTile; ++i)
    memcpy(tile + i * classes, logits + least(r + i, rows - 1) * classes,
           size_t(classes) * sizeof(float));
  if (!score_tile<kEntropy, kMargin>(tile, classes, scores[0], scores[1])) return false;
  const size_t bytes = size_t(rows - r) * sizeof(int64_t);
  if (kEntropy) memcpy(entropy + r, scores[0], bytes);
  if (kMargin) memcpy(margin + r, scores[1], bytes);
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
#endif
  return true;
}

}  // namespace
}  // namespace a3d
