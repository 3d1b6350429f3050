// Cells around points, and features that go between the two.
#pragma once

#include "group.h"

namespace a3d {
namespace {

// Indexes the cells of a scan. False: one is there twice.
inline bool all_different(const CellRows& cells, int64_t start, int64_t rows,
                          CellIndex<Grouped>& index) {
  Block block;
  for (int64_t first = 0; first < rows; first += kBlock) {
    const int count = int(least<int64_t>(kBlock, rows - first));
    cells.load(start + first, count, block);
    index.visit(block, find_runs(block, count), [](const RunHit&, Grouped&) {});
  }
  return index.count() == rows;
}

// Rows and weights of the 8 cells around the points of one scan: see reference.interpolation. The
// index holds the cells, of which the first has the row `first_cell`.
inline bool interpolate(const A3dInterpolation& q, int64_t start, int64_t stop, int64_t first_cell,
                        const CellIndex<Grouped>& index) {
  const float edge = float(q.stride);
  const PointRows points(q.points, q.point_stride, edge);
  Block block;
  for (int64_t first = start; first < stop; first += kBlock) {
    const int rows = int(least<int64_t>(kBlock, stop - first));
    if (!points.load(first, rows, block)) return false;
    for (int i = 0; i < rows; ++i) {
      const int32_t base[3] = {block.x[i], block.y[i], block.z[i]};
      float near[2][3];
      for (int axis = 0; axis < 3; ++axis) {
        const float f = block.axis[axis][i] - float(base[axis]);  // load() left the quotient
        near[0][axis] = 1.0f - f;
        near[1][axis] = f + 0.0f;  // -0 - 0 is -0
      }
      int64_t* const row = q.index + 8 * (first + i);
      float* const weight = q.weight + 8 * (first + i);
      float total = 0;
      for (int j = 0; j < 8; ++j) {
        const int bit[3] = {j >> 2 & 1, j >> 1 & 1, j & 1};
        bool inside = true;
        int32_t cell[3];
        for (int axis = 0; axis < 3; ++axis) {
          inside = inside && !(bit[axis] && base[axis] == INT32_MAX);
          cell[axis] = int32_t(uint32_t(base[axis]) + uint32_t(bit[axis]));
        }
        const int64_t number = inside ? index.find(cell[0], cell[1], cell[2]) : 0;
        row[j] = number ? first_cell + number - 1 : -1;
        weight[j] = number ? near[bit[0]][0] * near[bit[1]][1] * near[bit[2]][2] : 0.0f;
        total = total + weight[j];
      }
      for (int j = 0; j < 8; ++j) weight[j] = weight[j] / (total > 0 ? total : 1.0f);
    }
  }
  return true;
}

// out[n] = sum over k of weight[n, k] * features[index[n, k]], added in the order of k.
template <class T>
int64_t devoxelize(const T* features, int64_t voxels, int64_t channels, const int64_t* index,
                   const T* weight, int64_t points, int64_t neighbours, T* out) {
  for (int64_t n = 0; n < points; ++n, index += neighbours, weight += neighbours, out += channels) {
    if (channels) memset(out, 0, size_t(channels) * sizeof(T));  // out may be null without any
    for (int64_t k = 0; k < neighbours; ++k) {
      if (index[k] == -1) continue;
      if (index[k] < 0 || index[k] >= voxels) return kBadValue;
      const T* A3D_RESTRICT row = features + index[k] * channels;
      const T w = weight[k];
      T* A3D_RESTRICT to = out;
      for (int64_t c = 0; c < channels; ++c) to[c] += w * row[c];
    }
  }
  return 0;
}

// The gradient of the features, zeroed by the caller, added point by point in the order of k.
template <class T>
int64_t devoxelize_backward(const T* grad, int64_t points, int64_t channels, const int64_t* index,
                            const T* weight, int64_t neighbours, int64_t voxels, T* out) {
  for (int64_t n = 0; n < points; ++n, index += neighbours, weight += neighbours, grad += channels)
    for (int64_t k = 0; k < neighbours; ++k) {
      if (index[k] == -1) continue;
      if (index[k] < 0 || index[k] >= voxels) return kBadValue;
      T* A3D_RESTRICT row = out + index[k] * channels;
      const T* A3D_RESTRICT from = grad;
      const T w = weight[k];
      for (int64_t c = 0; c < channels; ++c) row[c] += w * from[c];
    }
  return 0;
}

}  // namespace
}  // namespace a3d
