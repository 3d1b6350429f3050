// What voxels have of their points, from the lists of their members.
#pragma once

#include "../arith.h"
#include "basics.h"

namespace a3d {
namespace {

int64_t histogram(const uint8_t* labels, const int64_t* members, const int64_t* splits,
                  int64_t voxels, int64_t num_classes, int32_t* out) {
  for (int64_t v = 0; v < voxels; ++v, out += num_classes)
    for (int64_t m = splits[v]; m < splits[v + 1]; ++m) {
      const uint8_t label = labels[members[m]];
      if (label != kIgnore) ++out[label];
    }
  return 0;
}

int64_t confusion(const uint8_t* labels, const int64_t* members, const int64_t* splits,
                  int64_t voxels, const int64_t* table, int64_t* out) {
  int64_t h[256] = {};
  for (int64_t v = 0; v < voxels; ++v) {
    const int64_t start = splits[v], stop = splits[v + 1];
    if (stop - start == 1) {
      out[v] = 0;
      continue;
    }
    for (int64_t m = start; m < stop; ++m) ++h[labels[members[m]]];
    const int64_t n = stop - start - h[kIgnore];
    h[kIgnore] = 0;
    int64_t parts = 0;  // every class once: its count is 0 when it comes again, and T[0] = 0
    for (int64_t m = start; m < stop; ++m) {
      int64_t& count = h[labels[members[m]]];
      parts += table[count];
      count = 0;
    }
    out[v] = entropy(table[n], parts, n);
  }
  return 0;
}

// Sums in float64 in the order of the members.
template <class T>
int64_t mean(const T* features, const int64_t* members, const int64_t* splits, int64_t voxels,
             int64_t channels, T* out) {
  constexpr int64_t kChannels = 64;
  for (int64_t v = 0; v < voxels; ++v, out += channels) {
    const int64_t start = splits[v], stop = splits[v + 1];
    for (int64_t from = 0; from < channels; from += kChannels) {
      const int64_t width = least(kChannels, channels - from);
      double sums[kChannels] = {};
      for (int64_t m = start; m < stop; ++m) {
        const T* row = features + members[m] * channels + from;
        for (int64_t c = 0; c < width; ++c) sums[c] += double(row[c]);
      }
      for (int64_t c = 0; c < width; ++c) out[from + c] = T(sums[c] / double(stop - start));
    }
  }
  return 0;
}

}  // namespace
}  // namespace a3d
