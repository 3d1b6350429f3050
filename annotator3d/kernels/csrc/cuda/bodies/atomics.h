// Atomic operations on integers, for the device and for host threads. All are relaxed: what one
// launch writes, the next one reads.
#pragma once

#include <cstdint>
#include <type_traits>

#include "../../cell.h"

namespace a3d {

#if defined(__CUDA_ARCH__)

// CUDA has its atomics for `int`, `unsigned`, `long long` and `unsigned long long` only.
template <class T>
struct Native {
  static constexpr bool kWide = sizeof(T) == 8;
  using Signed = std::conditional_t<kWide, long long, int>;
  using Unsigned = std::conditional_t<kWide, unsigned long long, unsigned>;
  using Type = std::conditional_t<std::is_signed<T>::value, Signed, Unsigned>;
};

template <class T>
A3D_HD T atomic_load(const T* at) {
  return *static_cast<const volatile T*>(at);
}

template <class T>
A3D_HD void atomic_store(T* at, T value) {
  *static_cast<volatile T*>(at) = value;
}

// The three below return the value before; so does atomic_swap_if, which writes `wanted` where the
// value is `expected`.
template <class T>
A3D_HD T atomic_add(T* at, T value) {
  using Word = typename Native<T>::Unsigned;  // sums wrap alike
  return T(atomicAdd(reinterpret_cast<Word*>(at), Word(value)));
}

template <class T>
A3D_HD T atomic_min(T* at, T value) {
  using Word = typename Native<T>::Type;
  return T(atomicMin(reinterpret_cast<Word*>(at), Word(value)));
}

template <class T>
A3D_HD T atomic_max(T* at, T value) {
  using Word = typename Native<T>::Type;
  return T(atomicMax(reinterpret_cast<Word*>(at), Word(value)));
}

template <class T>
A3D_HD T atomic_swap_if(T* at, T expected, T wanted) {
  using Word = typename Native<T>::Unsigned;
  return T(atomicCAS(reinterpret_cast<Word*>(at), Word(expected), Word(wanted)));
}

#else

template <class T>
A3D_HD T atomic_load(const T* at) {
  return __atomic_load_n(at, __ATOMIC_RELAXED);
}

template <class T>
A3D_HD void atomic_store(T* at, T value) {
  __atomic_store_n(at, value, __ATOMIC_RELAXED);
}

template <class T>
A3D_HD T atomic_add(T* at, T value) {
  return __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
}

template <class T>
A3D_HD T atomic_swap_if(T* at, T expected, T wanted) {
  __atomic_compare_exchange_n(at, &expected, wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}

template <class T>
A3D_HD T atomic_min(T* at, T value) {
  T seen = atomic_load(at);
  while (value < seen) {
    const T before = atomic_swap_if(at, seen, value);
    if (before == seen) break;
    seen = before;
  }
  return seen;
}

template <class T>
A3D_HD T atomic_max(T* at, T value) {
  T seen = atomic_load(at);
  while (value > seen) {
    const T before = atomic_swap_if(at, seen, value);
    if (before == seen) break;
    seen = before;
  }
  return seen;
}

#endif

// Set when a value is met that the operation refuses. The ones of a fresh workspace mean: none yet.
struct Flag {
  int32_t* at;

  A3D_MEMBER void raise() const { atomic_store(at, int32_t(0)); }
  A3D_MEMBER bool raised() const { return *at == 0; }
};

}  // namespace a3d
