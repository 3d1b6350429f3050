// What the points of a run say together, at its last row: without a branch, because nobody can guess
// where a run ends.
#pragma once

#include "blocks.h"

namespace a3d {
namespace {

struct Union {
  static uint32_t of(uint32_t a, uint32_t b) { return a | b; }
#if defined(__AVX2__)
  static __m256i of(__m256i a, __m256i b) { return _mm256_or_si256(a, b); }
#endif
};

struct Largest {
  static uint32_t of(uint32_t a, uint32_t b) { return most(a, b); }
#if defined(__AVX2__)
  static __m256i of(__m256i a, __m256i b) { return _mm256_max_epu32(a, b); }
#endif
};

// values[i] becomes what the rows of its run up to i have together; 0 is nothing. `values` has room
// for a multiple of 8.
template <class Together>
A3D_NOINLINE void along_runs(const Block& block, int rows, uint32_t* values) {
#if defined(__AVX2__)
  // Rows 1, 2 and 4 before are added in turn, where they belong to the run; then the last row of the
  // eight before. `keep` is all ones where all the rows that were looked at belong to it.
  const __m256i one_before = _mm256_setr_epi32(0, 0, 1, 2, 3, 4, 5, 6), none = _mm256_setzero_si256(),
                all = _mm256_set1_epi32(-1), last = _mm256_set1_epi32(7);
  __m256i carried = none;
  const auto add = [](__m256i value, __m256i keep, __m256i before) {
    return Together::of(value, _mm256_and_si256(keep, before));
  };
  for (int i = 0; i < rows; i += 8) {
    __m256i* const at = reinterpret_cast<__m256i*>(values + i);
    __m256i value = _mm256_load_si256(at);
    __m256i keep = _mm256_cvtepi8_epi32(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(block.keep + i)));
    value = add(value, keep,
                _mm256_blend_epi32(_mm256_permutevar8x32_epi32(value, one_before), none, 0x01));
    keep = _mm256_and_si256(
        keep, _mm256_blend_epi32(_mm256_permutevar8x32_epi32(keep, one_before), all, 0x01));
    value = add(value, keep, _mm256_blend_epi32(_mm256_permute4x64_epi64(value, 0x90), none, 0x03));
    keep = _mm256_and_si256(
        keep, _mm256_blend_epi32(_mm256_permute4x64_epi64(keep, 0x90), all, 0x03));
    value = add(value, keep, _mm256_permute2x128_si256(value, value, 0x08));
    keep = _mm256_and_si256(keep, _mm256_permute2x128_si256(keep, all, 0x02));
    value = add(value, keep, carried);
    _mm256_store_si256(at, value);
    carried = _mm256_permutevar8x32_epi32(value, last);
  }
#else
  uint32_t together = 0;
  for (int i = 0; i < rows; ++i) {
    together = Together::of(together & uint32_t(int32_t(block.keep[i])), values[i]);
    values[i] = together;
  }
#endif
}

}  // namespace
}  // namespace a3d
