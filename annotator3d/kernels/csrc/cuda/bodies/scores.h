// Histograms and confusion of voxels that are grouped already.
#pragma once

#include "rows.h"

namespace a3d {

// counts [voxels, classes], zeroed before.
struct CountClasses {
  const uint8_t* classes_of;
  const int64_t* point_to_voxel;
  int64_t rows;
  int classes;
  uint32_t* counts;

  A3D_MEMBER int64_t size() const { return rows; }
  A3D_MEMBER void operator()(int64_t i) const {
    const uint8_t label = classes_of[i];
    if (label != kIgnore)
      atomic_add(&counts[point_to_voxel[i] * classes + label], uint32_t(1));
  }
};

// The entropy of a histogram with `classes` counts and their sum n, which raises the flag where it
// is beyond the table.
struct ScoreTable {
  const int64_t* values;
  int64_t length;

  A3D_MEMBER int64_t score(const uint32_t* counts, int classes, const Flag& flag,
                           int64_t& n) const {
    n = 0;
    for (int c = 0; c < classes; ++c) n += counts[c];
    if (n >= length) {
      flag.raise();
      return 0;
    }
    int64_t parts = 0;
    for (int c = 0; c < classes; ++c) parts += values[counts[c]];
    return entropy(values[n], parts, n);
  }
};

struct ScoreVoxels {
  const uint32_t* counts;
  int64_t voxels;
  int classes;
  ScoreTable table;
  Flag flag;
  int64_t* out;

  A3D_MEMBER int64_t size() const { return voxels; }
  A3D_MEMBER void operator()(int64_t v) const {
    int64_t n;
    out[v] = table.score(counts + v * classes, classes, flag, n);
  }
};

struct Report {
  Flag flag;
  int64_t* out;

  A3D_MEMBER int64_t size() const { return 1; }
  A3D_MEMBER void operator()(int64_t) const { *out = flag.raised(); }
};

}  // namespace a3d
