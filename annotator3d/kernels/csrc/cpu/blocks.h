// Points to cells, a block at a time, and to runs: neighbours on a beam often share a cell.
#pragma once

#include "basics.h"

namespace a3d {
namespace {

struct Block {
  alignas(64) float axis[3][kBlock];  // x / size, and so on
  alignas(64) int32_t x[kBlock], y[kBlock], z[kBlock];
  alignas(64) uint32_t hash[kBlock + 16];  // of the cells; and what a look ahead may read
  alignas(64) int8_t keep[kBlock];         // 0 where a run begins, elsewhere -1
  alignas(64) int32_t begin[kBlock + 64];  // rows where the runs begin, the number of rows, zeros
};

// The same bits as Cell's hash() are not needed: only how fast a cell is found depends on it.
inline uint32_t hash_of(int32_t x, int32_t y, int32_t z) {
  uint32_t h = uint32_t(x) * 0x9E3779B1u + uint32_t(y) * 0x85EBCA77u + uint32_t(z) * 0xC2B2AE3Du;
  h = (h ^ (h >> 15)) * 0x2C1B3C6Du;
  return h ^ (h >> 16);
}

// Cells of points by floor(xyz / size), as cell_of().
class PointRows {
 public:
  PointRows(const float* points, int64_t stride, float size)
      : points_(points), stride_(stride), size_(size), inverse_(1 / size) {
    // x / size is x * (1 / size) where both are powers of two, and far faster.
    multiply_ = is_power_of_two(size_) && is_power_of_two(inverse_);
  }

  // False: a coordinate that fits no cell.
  A3D_NOINLINE bool load(int64_t first, int rows, Block& block) const {
    const float* const p = points_ + first * stride_;
    int32_t* const out[3] = {block.x, block.y, block.z};
    int done = 0, bad = 0;
#if defined(__AVX2__)
    bad = multiply_ ? eights<true>(p, rows, block, out, done)
                    : eights<false>(p, rows, block, out, done);
#endif
    split(p, done, rows, block);
    for (int axis = 0; axis < 3; ++axis)
      bad |= multiply_
                 ? floors<true>(block.axis[axis] + done, inverse_, rows - done, out[axis] + done)
                 : floors<false>(block.axis[axis] + done, size_, rows - done, out[axis] + done);
    return !bad;
  }

 private:
  static bool is_power_of_two(float x) {  // a normal one
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7FFFFF) == 0 && bits >= 0x800000 && bits < 0x7F800000;
  }

#if defined(__AVX2__)
  // What split() and floors() do, for eight rows at a time; leaves some at the end.
  template <bool kMultiply>
  int eights(const float* p, int rows, Block& block, int32_t* const (&out)[3], int& done) const {
    const __m256 by = _mm256_set1_ps(kMultiply ? inverse_ : size_);
    const __m256i beyond = _mm256_set1_epi32(INT32_MIN);  // what a conversion gives that fails
    const __m256 least_one = _mm256_set1_ps(-2147483648.0f);
    __m256i bad = _mm256_setzero_si256();
    const auto two = [=](const float* row) {  // a row, and the fourth after it
      return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(row)),
                                  _mm_loadu_ps(row + 4 * stride_), 1);
    };
    for (; done + 8 < rows; done += 8) {  // as in split()
      const float* const q = p + done * stride_;
      const __m256 a = two(q), b = two(q + stride_), c = two(q + 2 * stride_),
                   d = two(q + 3 * stride_);
      const __m256 ab = _mm256_unpacklo_ps(a, b), cd = _mm256_unpacklo_ps(c, d);
      const __m256 turned[3] = {
          _mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xEE),
          _mm256_shuffle_ps(_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d), 0x44)};
      for (int axis = 0; axis < 3; ++axis) {
        const __m256 x =
            kMultiply ? _mm256_mul_ps(turned[axis], by) : _mm256_div_ps(turned[axis], by);
        const __m256i cell = _mm256_cvttps_epi32(_mm256_floor_ps(x));
        const __m256i least_cell = _mm256_castps_si256(_mm256_cmp_ps(x, least_one, _CMP_EQ_OQ));
        bad = _mm256_or_si256(
            bad, _mm256_andnot_si256(least_cell, _mm256_cmpeq_epi32(cell, beyond)));
        _mm256_store_ps(block.axis[axis] + done, x);
        _mm256_store_si256(reinterpret_cast<__m256i*>(out[axis] + done), cell);
      }
    }
    return _mm256_movemask_epi8(bad);
  }
#endif

  void split(const float* p, int first, int rows, Block& block) const {
    float *x = block.axis[0], *y = block.axis[1], *z = block.axis[2];
    int i = first;
#if defined(A3D_SSE2)
    for (; i + 4 < rows; i += 4) {  // leaves a row: where there are 3 columns, the last has no 4
      const float* q = p + i * stride_;
      __m128 a = _mm_loadu_ps(q), b = _mm_loadu_ps(q + stride_), c = _mm_loadu_ps(q + 2 * stride_),
             d = _mm_loadu_ps(q + 3 * stride_);
      _MM_TRANSPOSE4_PS(a, b, c, d);
      _mm_store_ps(x + i, a);
      _mm_store_ps(y + i, b);
      _mm_store_ps(z + i, c);
    }
#endif
    for (; i < rows; ++i) {
      x[i] = p[i * stride_];
      y[i] = p[i * stride_ + 1];
      z[i] = p[i * stride_ + 2];
    }
  }

  // In two simple loops, which compilers turn into vectors. Changes `q` to the quotients.
  template <bool kMultiply>
  static int floors(float* A3D_RESTRICT q, float by, int rows, int32_t* A3D_RESTRICT out) {
    int bad = 0;
    for (int i = 0; i < rows; ++i) {
      q[i] = kMultiply ? q[i] * by : q[i] / by;
      const int high_enough = q[i] >= -2147483648.0f, low_enough = q[i] < 2147483648.0f;
      bad |= (high_enough & low_enough) ^ 1;
    }
    if (bad) return bad;
    for (int i = 0; i < rows; ++i) {
      const int32_t t = int32_t(q[i]);  // towards zero
      out[i] = t - int32_t(q[i] < float(t));
    }
    return 0;
  }

  const float* points_;
  int64_t stride_;
  float size_, inverse_;
  bool multiply_;
};

// Cells that are known.
class CellRows {
 public:
  explicit CellRows(const int32_t* cells) : cells_(cells) {}

  A3D_NOINLINE bool load(int64_t first, int rows, Block& block) const {
    const int32_t* p = cells_ + first * 3;
    for (int i = 0; i < rows; ++i) {
      block.x[i] = p[3 * i];
      block.y[i] = p[3 * i + 1];
      block.z[i] = p[3 * i + 2];
    }
    return true;
  }

 private:
  const int32_t* cells_;
};

#if defined(__AVX2__)
struct Places {  // of the bits of a byte, lowest first
  uint8_t of[256][8];
  constexpr Places() : of() {
    for (int byte = 0; byte < 256; ++byte)
      for (int bit = 0, n = 0; bit < 8; ++bit)
        if (byte >> bit & 1) of[byte][n++] = uint8_t(bit);
  }
};
constexpr Places kPlaces;
#endif

// Hashes, and the runs of rows with the same cell: their number. Without a branch on where one
// begins: nobody can guess it.
A3D_NOINLINE int find_runs(Block& block, int rows) {
  for (int i = 0; i < rows; ++i) block.hash[i] = hash_of(block.x[i], block.y[i], block.z[i]);
  block.keep[0] = 0;
  block.begin[0] = 0;
  int runs = 1, i = 1;
#if defined(__AVX2__)
  for (; i + 8 <= rows; i += 8) {
    const auto same = [i](const int32_t* of) {
      return _mm256_cmpeq_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(of + i)),
                                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(of + i - 1)));
    };
    const __m256i keep =
        _mm256_and_si256(_mm256_and_si256(same(block.x), same(block.y)), same(block.z));
    const __m128i half =
        _mm_packs_epi32(_mm256_castsi256_si128(keep), _mm256_extracti128_si256(keep, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(block.keep + i), _mm_packs_epi16(half, half));
    const uint32_t starts = ~uint32_t(_mm256_movemask_ps(_mm256_castsi256_ps(keep))) & 255;
    const __m128i places = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kPlaces.of[starts]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(block.begin + runs),
                        _mm256_add_epi32(_mm256_cvtepu8_epi32(places), _mm256_set1_epi32(i)));
    runs += count_bits(starts);
  }
#endif
  for (; i < rows; ++i) {
    const int32_t change = (block.x[i] ^ block.x[i - 1]) | (block.y[i] ^ block.y[i - 1]) |
                           (block.z[i] ^ block.z[i - 1]);
    block.keep[i] = int8_t(-int(change == 0));
    block.begin[runs] = i;
    runs += change != 0;
  }
  block.begin[runs] = rows;
  for (int j = 1; j <= kAhead; ++j) block.begin[runs + j] = 0;  // for what looks ahead
  return runs;
}

}  // namespace
}  // namespace a3d
