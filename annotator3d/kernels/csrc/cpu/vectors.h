// Vectors of numbers, as wide as the variant's registers.
#pragma once

#include "basics.h"

namespace a3d {
namespace {

#if defined(__GNUC__)

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
};

#if defined(__AVX512F__)
A3D_INLINE VectorOf<float>::type splat(float x) { return (VectorOf<float>::type)_mm512_set1_ps(x); }
A3D_INLINE VectorOf<double>::type splat(double x) {
  return (VectorOf<double>::type)_mm512_set1_pd(x);
}
#elif defined(__AVX__)
A3D_INLINE VectorOf<float>::type splat(float x) { return (VectorOf<float>::type)_mm256_set1_ps(x); }
A3D_INLINE VectorOf<double>::type splat(double x) {
  return (VectorOf<double>::type)_mm256_set1_pd(x);
}
#else
A3D_INLINE VectorOf<float>::type splat(float x) { return VectorOf<float>::type{x, x, x, x}; }
A3D_INLINE VectorOf<double>::type splat(double x) { return VectorOf<double>::type{x, x}; }
#endif

#else  // one number at a time

template <class T>
struct VectorOf {
  typedef T type;
};
A3D_INLINE float splat(float x) { return x; }
A3D_INLINE double splat(double x) { return x; }

#endif

template <class T>
using Vector = typename VectorOf<T>::type;

template <class T>
constexpr int kWidth = int(sizeof(Vector<T>) / sizeof(T));

template <class T>
A3D_INLINE Vector<T> load(const T* from) {
  Vector<T> x;
  memcpy(&x, from, sizeof x);
  return x;
}

template <class T>
A3D_INLINE void store(T* to, Vector<T> x) {
  memcpy(to, &x, sizeof x);
}

// a * b + c, rounded once where there is an instruction for it.
template <class V>
A3D_INLINE V multiply_add(V a, V b, V c) {
  return a * b + c;
}
#if defined(__AVX512F__)
template <>
A3D_INLINE Vector<float> multiply_add(Vector<float> a, Vector<float> b, Vector<float> c) {
  return (Vector<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
template <>
A3D_INLINE Vector<double> multiply_add(Vector<double> a, Vector<double> b, Vector<double> c) {
  return (Vector<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
#elif defined(__FMA__)
template <>
A3D_INLINE Vector<float> multiply_add(Vector<float> a, Vector<float> b, Vector<float> c) {
  return (Vector<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
template <>
A3D_INLINE Vector<double> multiply_add(Vector<double> a, Vector<double> b, Vector<double> c) {
  return (Vector<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#endif

// Calls body(std::integral_constant) would be the usual way; here a type of our own.
template <int kValue>
struct Number {
  static constexpr int value = kValue;
};

// body(Number<n>) for the n = 1..kMost given.
template <int kMost, class Body>
A3D_INLINE void with_number(int n, const Body& body) {
  if constexpr (kMost > 0) {
    if (n == kMost) body(Number<kMost>());
    else with_number<kMost - 1>(n, body);
  }
}

}  // namespace
}  // namespace a3d
