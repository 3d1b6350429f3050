// Arithmetic that every compiled path shares, so that CPU and GPU give the same integers.
#pragma once

#include <cstdint>

// static: where one library holds a file compiled for several instruction sets, a linker would keep
// one of them for all.
#if defined(__CUDACC__)
#define A3D_MEMBER __host__ __device__ inline
#else
#define A3D_MEMBER inline
#endif
#define A3D_HD static A3D_MEMBER

namespace a3d {

struct Cell {
  int32_t x, y, z;
};

A3D_HD bool operator==(const Cell& a, const Cell& b) {
  return a.x == b.x && a.y == b.y && a.z == b.z;
}

A3D_HD uint64_t hash(const Cell& c) {
  uint64_t k = uint32_t(c.x) * 0x9E3779B97F4A7C15u + uint32_t(c.y) * 0xC2B2AE3D27D4EB4Fu +
               uint32_t(c.z) * 0x165667B19E3779F9u;
  return (k ^ (k >> 29)) * 0xBF58476D1CE4E5B9u;  // the high bits are good
}

// floor(value / size) by IEEE division. ok turns false where the cell does not fit 32 bits (or the
// value is no number); the result is then 0.
A3D_HD int32_t cell_of(float value, float size, bool& ok) {
  const float q = value / size;
  const bool fits = q >= -2147483648.0f && q < 2147483648.0f;
  ok = ok & fits;
  const float safe = fits ? q : 0.0f;
  const int32_t t = int32_t(safe);  // towards zero; exact to compare, floats beyond 2^24 are whole
  return t - int32_t(safe < float(t));
}

}  // namespace a3d
