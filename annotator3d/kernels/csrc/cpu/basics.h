// What every file of a variant uses. A variant (see variant.h) is compiled for an instruction set of
// its own: everything in it has internal linkage and it uses no std:: templates, because a linker
// keeps one copy of an inline function for the whole library, perhaps one that the machine cannot run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../cell.h"

#if defined(__SSE2__) || defined(_M_X64)
#define A3D_SSE2 1
#include <immintrin.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#if defined(__GNUC__)
#define A3D_RESTRICT __restrict__
#define A3D_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define A3D_NOINLINE __attribute__((noinline))
#define A3D_INLINE inline __attribute__((always_inline))
#define A3D_PREFETCH(address) __builtin_prefetch(address, 1)
// The compiler cannot look through it: what is computed without a branch stays so.
#define A3D_OPAQUE(x) asm("" : "+r"(x))
#else
#define A3D_RESTRICT __restrict
#define A3D_UNLIKELY(x) (x)
#define A3D_NOINLINE
#define A3D_INLINE inline
#define A3D_PREFETCH(address) (void)(address)
#define A3D_OPAQUE(x) (void)(x)
#endif

namespace a3d {
namespace {

constexpr int kIgnore = 255;      // the label of a point that counts nowhere
constexpr int kBlock = 512;       // points that are worked on at once: their arrays stay in the cache
constexpr int kAhead = 12;        // runs between loading what a look-up needs and the look-up

// Starts to load what comes a page behind some numbers that are read in order: at a page's end the
// processor stops to do so by itself.
A3D_INLINE void fetch_ahead(const float* numbers, int length) {
#if defined(__GNUC__)
  for (int i = 0; i < length; i += 16) __builtin_prefetch(numbers + 1024 + i, 0);
#else
  (void)numbers, (void)length;
#endif
}

template <class T>
inline T least(T a, T b) {
  return a < b ? a : b;
}

template <class T>
inline T most(T a, T b) {
  return a > b ? a : b;
}

inline int lowest_bit(uint64_t bits) {  // not of 0
#if defined(__GNUC__)
  return __builtin_ctzll(bits);
#else
  int place = 0;
  for (; !(bits & 1); bits >>= 1) ++place;
  return place;
#endif
}

inline int count_bits(uint64_t v) {
#if defined(__GNUC__) && defined(__POPCNT__)
  return __builtin_popcountll(v);
#else
  v -= (v >> 1) & 0x5555555555555555u;
  v = (v & 0x3333333333333333u) + ((v >> 2) & 0x3333333333333333u);
  v = (v + (v >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
  return int((v * 0x0101010101010101u) >> 56);
#endif
}

// Hands out arrays of one piece of memory, each at a cache line. Without memory it only counts. The
// address sanitizer learns where each ends.
class Arena {
 public:
  explicit Arena(void* memory) : at_(static_cast<char*>(memory)) {}

  template <class T>
  T* take(int64_t length) {
    T* array = at_ ? reinterpret_cast<T*>(at_ + used_) : nullptr;
    const size_t end = used_ + size_t(length) * sizeof(T);
    used_ = (end + kGap + 63) & ~size_t(63);
#if defined(__SANITIZE_ADDRESS__)
    if (at_) ASAN_POISON_MEMORY_REGION(at_ + end, used_ - end);
#endif
    return array;
  }

  size_t used() const { return used_; }

 private:
#if defined(__SANITIZE_ADDRESS__)
  static constexpr size_t kGap = 64;
#else
  static constexpr size_t kGap = 0;
#endif
  char* at_;
  size_t used_ = 0;
};

}  // namespace
}  // namespace a3d
