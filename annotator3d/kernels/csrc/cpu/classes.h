// Class of each point from its logits: the first of the largest. And labels as they are.
#pragma once

#include "../abi.h"
#include "basics.h"

namespace a3d {
namespace {

// Any number of classes. False: a logit that is not finite (0 * x is then NaN, and so is any sum).
template <class T>
bool argmax_any(const T* in, int64_t rows, int classes, uint8_t* out) {
  T poison = 0;
  for (int64_t r = 0; r < rows; ++r, in += classes) {
    T best = in[0];
    int arg = 0;
    for (int c = 0; c < classes; ++c) {
      poison += in[c] * 0;
      arg = in[c] > best ? c : arg;
      best = in[c] > best ? in[c] : best;
    }
    out[r] = uint8_t(arg);
  }
  return poison == 0;
}

#if defined(A3D_SSE2)

inline __m128 poisoned(__m128 poison, __m128 x) {
#if defined(__FMA__)
  return _mm_fmadd_ps(x, _mm_setzero_ps(), poison);
#else
  return _mm_add_ps(poison, _mm_mul_ps(x, _mm_setzero_ps()));
#endif
}

// A row of kFours * 4 classes, or up to 3 more (kRest): its fours, the last ones twice.
template <int kFours, bool kRest>
struct Row {
  const float* x;
  int classes;

  // The largest, somewhere in the lanes.
  __m128 largest(__m128& poison) const {
    __m128 best = _mm_loadu_ps(x);
    poison = poisoned(poison, best);
    for (int c = 4; c < 4 * kFours; c += 4) {
      const __m128 v = _mm_loadu_ps(x + c);
      poison = poisoned(poison, v);
      best = _mm_max_ps(best, v);
    }
    if (kRest) {
      const __m128 v = _mm_loadu_ps(x + classes - 4);
      poison = poisoned(poison, v);
      best = _mm_max_ps(best, v);
    }
    return best;
  }

  // The first class whose logit is `best` (in all lanes); the last if there is none.
  int first_of(__m128 best) const {
    uint32_t bits = 0;
    int c = 0;
#if defined(__AVX512F__)
    const __m512 wide = _mm512_broadcastss_ps(best);
    for (; c + 16 <= 4 * kFours; c += 16)
      bits |= uint32_t(_mm512_cmpeq_ps_mask(_mm512_loadu_ps(x + c), wide)) << c;
#endif
#if defined(__AVX__)
    const __m256 half = _mm256_set_m128(best, best);
    for (; c + 8 <= 4 * kFours; c += 8)
      bits |= mask(_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x + c), half, _CMP_EQ_OQ)), c);
#endif
    for (; c < 4 * kFours; c += 4)
      bits |= mask(_mm_movemask_ps(_mm_cmpeq_ps(_mm_loadu_ps(x + c), best)), c);
    if (kRest) {
      c = classes - 4;
      bits |= mask(_mm_movemask_ps(_mm_cmpeq_ps(_mm_loadu_ps(x + c), best)), c);
    }
    return lowest_bit(bits | uint32_t(1) << (classes - 1));
  }

  static uint32_t mask(int bits, int c) { return uint32_t(bits) << c; }
};

template <int kFours, bool kRest>
A3D_NOINLINE bool argmax_rows(const float* in, int64_t rows, int classes, uint8_t* out) {
  __m128 poison[4] = {_mm_setzero_ps(), _mm_setzero_ps(), _mm_setzero_ps(), _mm_setzero_ps()};
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4, in += 4 * classes) {
    fetch_ahead(in, 4 * classes);
    const Row<kFours, kRest> a{in, classes}, b{in + classes, classes}, c{in + 2 * classes, classes},
        d{in + 3 * classes, classes};
    const __m128 va = a.largest(poison[0]), vb = b.largest(poison[1]), vc = c.largest(poison[2]),
                 vd = d.largest(poison[3]);
    const __m128 ab = _mm_max_ps(_mm_unpacklo_ps(va, vb), _mm_unpackhi_ps(va, vb));
    const __m128 cd = _mm_max_ps(_mm_unpacklo_ps(vc, vd), _mm_unpackhi_ps(vc, vd));
    const __m128 best = _mm_max_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
    out[r] = uint8_t(a.first_of(_mm_shuffle_ps(best, best, 0x00)));
    out[r + 1] = uint8_t(b.first_of(_mm_shuffle_ps(best, best, 0x55)));
    out[r + 2] = uint8_t(c.first_of(_mm_shuffle_ps(best, best, 0xAA)));
    out[r + 3] = uint8_t(d.first_of(_mm_shuffle_ps(best, best, 0xFF)));
  }
  const __m128 all = _mm_add_ps(_mm_add_ps(poison[0], poison[1]), _mm_add_ps(poison[2], poison[3]));
  const bool finite = _mm_movemask_ps(_mm_cmpeq_ps(all, _mm_setzero_ps())) == 15;
  return argmax_any(in, rows - r, classes, out + r) && finite;
}

// Many classes.
A3D_NOINLINE bool argmax_long(const float* in, int64_t rows, int classes, uint8_t* out) {
  __m128 poison = _mm_setzero_ps();
  for (int64_t r = 0; r < rows; ++r, in += classes) {
    const int last = classes - 4;
    __m128 best = _mm_loadu_ps(in + last);
    poison = poisoned(poison, best);
    for (int c = 0; c < last; c += 4) {
      const __m128 v = _mm_loadu_ps(in + c);
      poison = poisoned(poison, v);
      best = _mm_max_ps(best, v);
    }
    best = _mm_max_ps(best, _mm_movehl_ps(best, best));
    best = _mm_max_ps(best, _mm_shuffle_ps(best, best, 0x55));
    best = _mm_shuffle_ps(best, best, 0);
    int c = 0, bits = 0;
    for (; c < last && !bits; c += 4) bits = _mm_movemask_ps(_mm_cmpeq_ps(_mm_loadu_ps(in + c), best));
    if (bits) c -= 4;
    else bits = _mm_movemask_ps(_mm_cmpeq_ps(_mm_loadu_ps(in + (c = last)), best));
    out[r] = uint8_t(c + lowest_bit(unsigned(bits) | 8u));
  }
  return _mm_movemask_ps(_mm_cmpeq_ps(poison, _mm_setzero_ps())) == 15;
}

// The usual numbers of classes, each with its loops unrolled: twice as fast.
inline bool argmax(const float* in, int64_t rows, int classes, uint8_t* out) {
  const bool rest = classes % 4 != 0;
  switch (classes / 4) {
#define A3D_FOURS(n)                                                        \
  case n:                                                                   \
    return rest ? argmax_rows<n, true>(in, rows, classes, out)              \
                : argmax_rows<n, false>(in, rows, classes, out);
    A3D_FOURS(1)
    A3D_FOURS(2)
    A3D_FOURS(3)
    A3D_FOURS(4)
    A3D_FOURS(5)
    A3D_FOURS(6)
    A3D_FOURS(7)
#undef A3D_FOURS
    case 0:
      return argmax_any(in, rows, classes, out);
    default:
      return argmax_long(in, rows, classes, out);
  }
}

#else
inline bool argmax(const float* in, int64_t rows, int classes, uint8_t* out) {
  return argmax_any(in, rows, classes, out);
}
#endif

inline bool argmax(const double* in, int64_t rows, int classes, uint8_t* out) {
  return argmax_any(in, rows, classes, out);
}

// False: a label that is neither a class nor kIgnore. Bits is T without a sign.
template <class Bits, class T>
bool copy_labels(const T* in, int64_t rows, int classes, uint8_t* out) {
  const Bits highest = Bits(classes - 1);
  Bits bad = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const Bits label = Bits(in[i]);
    bad |= Bits(Bits(label > highest) & Bits(label != kIgnore));
    out[i] = uint8_t(label);
  }
  return bad == 0;
}

constexpr int kCounted = 32;  // labels that are looked at together

// How many of some labels are `label`. Those behind, up to a multiple of kCounted, are not.
inline int64_t count_label(const uint8_t* labels, int64_t rows, uint8_t label) {
  int64_t count = 0;
#if defined(__AVX2__)
  const __m256i wanted = _mm256_set1_epi8(char(label));
  for (int64_t i = 0; i < rows; i += kCounted) {
    const __m256i some = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(labels + i));
    count += count_bits(uint32_t(_mm256_movemask_epi8(_mm256_cmpeq_epi8(some, wanted))));
  }
#else
  for (int64_t i = 0; i < rows; ++i) count += labels[i] == label;
#endif
  return count;
}

// Labels of some rows of a prediction of an A3dKind, from row `first` on. False: a bad value.
A3D_NOINLINE bool labels_of(const void* prediction, int64_t kind, int64_t first, int64_t rows,
                            int classes, uint8_t* out) {
  switch (kind) {
    case kA3dLogitsF32:
      return argmax(static_cast<const float*>(prediction) + first * classes, rows, classes, out);
    case kA3dLogitsF64:
      return argmax(static_cast<const double*>(prediction) + first * classes, rows, classes, out);
    case kA3dLabelsU8:
      return copy_labels<uint8_t>(static_cast<const uint8_t*>(prediction) + first, rows, classes, out);
    case kA3dLabelsI32:
      return copy_labels<uint32_t>(static_cast<const int32_t*>(prediction) + first, rows, classes, out);
    default:
      return copy_labels<uint64_t>(static_cast<const int64_t*>(prediction) + first, rows, classes, out);
  }
}

}  // namespace
}  // namespace a3d
