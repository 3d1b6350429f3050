// Neighbours of points, and features from voxels to points and back.
#pragma once

#include "group.h"

namespace a3d {

// Fills a table with cells that must not repeat within a scan.
struct InsertCells {
  CellTableOf<KnownCells> cells;
  int64_t rows;
  Flag flag;

  A3D_MEMBER int64_t size() const { return rows; }
  A3D_MEMBER void operator()(int64_t i) const {
    bool ok = true, fresh = false;
    cells.claim(i, ok, fresh);
    if (!fresh) flag.raise();
  }
};

// Rows and weights of the 8 cells around each point: see reference.interpolation.
struct Interpolate {
  static constexpr int kBlocksPerSm = 5;  // 6, of 40 registers, spill on sm_100
  const float* points;
  int64_t point_stride, rows;
  Scans point_scans;
  CellTableOf<KnownCells> cells;
  float stride;
  int64_t* index;
  float* weight;
  Flag flag;

  A3D_MEMBER int64_t size() const { return rows; }
  A3D_MEMBER void operator()(int64_t i) const {
    const float* p = points + i * point_stride;
    const int64_t scan = point_scans.of(i);
    bool ok = true;
    int32_t base[3];
    float near[3][2];
    for (int axis = 0; axis < 3; ++axis) {
      base[axis] = cell_of(p[axis], stride, ok);
      near[axis][1] = p[axis] / stride - float(base[axis]);
      near[axis][0] = 1.0f - near[axis][1];
    }
    if (!ok) flag.raise();
    float weights[8], total = 0.0f;
    for (int corner = 0; corner < 8; ++corner) {
      const int x = corner >> 2, y = corner >> 1 & 1, z = corner & 1;
      const int64_t row = row_of(scan, base, x, y, z);
      index[i * 8 + corner] = row;
      weights[corner] = row < 0 ? 0.0f : near[0][x] * near[1][y] * near[2][z];
      total += weights[corner];
    }
    const float scale = total > 0.0f ? total : 1.0f;
    for (int corner = 0; corner < 8; ++corner) weight[i * 8 + corner] = weights[corner] / scale;
  }

 private:
  A3D_MEMBER int64_t row_of(int64_t scan, const int32_t* base, int x, int y, int z) const {
    if ((x && base[0] == INT32_MAX) || (y && base[1] == INT32_MAX) || (z && base[2] == INT32_MAX))
      return -1;
    const uint32_t slot = cells.find(scan, {base[0] + x, base[1] + y, base[2] + z});
    return slot == Table::kMissing ? -1 : int64_t(cells.table.row(slot));
  }
};

// out[n] = sum over k of weight[n, k] * features[index[n, k]], in the order of k.
template <class T>
struct Gather {
  const T* features;
  int64_t feature_rows;
  const int64_t* index;
  const T* weight;
  int64_t rows, neighbours, columns;
  T* out;
  Flag flag;

  A3D_MEMBER int64_t size() const { return rows * columns; }
  A3D_MEMBER void operator()(int64_t i) const {
    const int64_t row = i / columns, column = i % columns;
    T sum = 0;
    for (int64_t k = row * neighbours; k < (row + 1) * neighbours; ++k) {
      const int64_t from = index[k];
      const bool known = from >= 0 && from < feature_rows;
      if (!known && from != -1) flag.raise();
      sum += weight[k] * (known ? features[from * columns + column] : T(0));
    }
    out[i] = sum;
  }
};

// The backward of Gather without atomics on floats, whose sums would depend on the order: entries of
// the index are sorted by the row that they read, and each row adds its own in their order.

// counts [rows], zeroed before.
struct CountEntries {
  const int64_t* index;
  int64_t entries;
  int64_t* counts;

  A3D_MEMBER int64_t size() const { return entries; }
  A3D_MEMBER void operator()(int64_t i) const {
    if (index[i] >= 0) atomic_add(&counts[index[i]], int64_t(1));
  }
};

// splits [rows + 1] and cursors [rows] from the prefix sum of the counts.
struct EntrySplits {
  const int64_t* total;
  int64_t rows;
  int64_t *splits, *cursors;

  A3D_MEMBER int64_t size() const { return rows + 1; }
  A3D_MEMBER void operator()(int64_t i) const {
    if (i == rows)
      splits[i] = *total;
    else
      cursors[i] = splits[i];
  }
};

struct PlaceEntries {
  const int64_t* index;
  int64_t entries;
  const int64_t* splits;
  int64_t* cursors;
  int64_t* members;
  int64_t* largest;  // all ones: -1

  A3D_MEMBER int64_t size() const { return entries; }
  A3D_MEMBER void operator()(int64_t i) const {
    const int64_t row = index[i];
    if (row < 0) return;
    members[atomic_add(&cursors[row], int64_t(1))] = i;
    const int64_t count = splits[row + 1] - splits[row];
    if (count > atomic_load(largest)) atomic_max(largest, count);
  }
};

template <class T>
struct ScatterRows {
  const T* grad;
  const T* weight;
  const int64_t* splits;
  const int64_t *even, *odd;  // members after an even and an odd number of merges
  const int64_t* largest;
  int64_t rows, neighbours, columns;
  T* out;

  A3D_MEMBER int64_t size() const { return rows * columns; }
  A3D_MEMBER void operator()(int64_t i) const {
    const int64_t row = i / columns, column = i % columns;
    const int64_t* members = merges_for(*largest) % 2 ? odd : even;
    T sum = 0;
    for (int64_t m = splits[row]; m < splits[row + 1]; ++m) {
      const int64_t entry = members[m];
      sum += grad[entry / neighbours * columns + column] * weight[entry];
    }
    out[i] = sum;
  }
};

}  // namespace a3d
