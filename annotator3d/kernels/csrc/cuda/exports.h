// The operations of the C ABI for one launcher: included once, by each library, after it has
// defined A3D_LAUNCHER.
#pragma once

#include "run_group.h"
#include "run_maps.h"
#include "run_rows.h"
#include "run_select.h"

namespace a3d {

// then(source): points or cells, whichever the batch has.
template <class Then>
int64_t with_source(const A3dBatch& batch, double size, Then then) {
  if (batch.points) return then(PointCells{batch.points, batch.stride, float(size)});
  return then(KnownCells{reinterpret_cast<const Cell*>(batch.cells)});
}

template <class T>
int64_t mean_of(const void* features, const int64_t* members, const int64_t* splits, int64_t voxels,
                int64_t columns, void* out, const A3dRun& run) {
  return voxel_mean<A3D_LAUNCHER>(MeanRows<T>{static_cast<const T*>(features), members, splits,
                                              voxels, columns, static_cast<T*>(out)},
                                  run);
}

template <class T>
int64_t gather(const void* features, int64_t feature_rows, int64_t columns, const int64_t* index,
               const void* weight, int64_t rows, int64_t neighbours, void* out, int64_t* status,
               const A3dRun& run) {
  return devoxelize<A3D_LAUNCHER>(
      Gather<T>{static_cast<const T*>(features), feature_rows, index,
                static_cast<const T*>(weight), rows, neighbours, columns, static_cast<T*>(out), {}},
      status, run);
}

template <class T>
int64_t scatter(const void* grad, int64_t feature_rows, int64_t columns, const int64_t* index,
                const void* weight, int64_t rows, int64_t neighbours, void* out,
                const A3dRun& run) {
  ScatterRows<T> body{};
  body.grad = static_cast<const T*>(grad);
  body.weight = static_cast<const T*>(weight);
  body.rows = feature_rows;
  body.neighbours = neighbours;
  body.columns = columns;
  body.out = static_cast<T*>(out);
  return devoxelize_backward<A3D_LAUNCHER>(body, index, rows, run);
}

}  // namespace a3d

int64_t a3d_cuda_group_begin(const A3dBatch* batch, double size, int64_t* sizes,
                             const A3dRun* run) {
  return a3d::with_source(*batch, size, [&](auto source) {
    return a3d::group_begin<A3D_LAUNCHER>(*batch, source, sizes, *run);
  });
}

int64_t a3d_cuda_group_finish(const A3dBatch* batch, double size, int64_t voxels, int64_t largest,
                              int32_t* out_cells, int64_t* out_scan, int64_t* point_to_voxel,
                              int64_t* members, int64_t* out_splits, int64_t* scan_splits,
                              const A3dRun* run) {
  const a3d::GroupOutput out{reinterpret_cast<a3d::Cell*>(out_cells), out_scan, point_to_voxel,
                             members, out_splits, scan_splits};
  return a3d::with_source(*batch, size, [&](auto source) {
    return a3d::group_finish<A3D_LAUNCHER>(*batch, source, voxels, largest, out, *run);
  });
}

int64_t a3d_cuda_voxel_mean(const void* features, int64_t wide, const int64_t* members,
                            const int64_t* splits, int64_t voxels, int64_t columns, void* out,
                            const A3dRun* run) {
  const auto mean = wide ? a3d::mean_of<double> : a3d::mean_of<float>;
  return mean(features, members, splits, voxels, columns, out, *run);
}

int64_t a3d_cuda_histogram(const A3dPrediction* labels, const int64_t* point_to_voxel,
                           int64_t voxels, int32_t* out, int64_t* status, const A3dRun* run) {
  return a3d::histogram<A3D_LAUNCHER>(*labels, point_to_voxel, voxels, out, status, *run);
}

int64_t a3d_cuda_confusion(const A3dPrediction* prediction, const int64_t* point_to_voxel,
                           int64_t voxels, const int64_t* table, int64_t table_length, int64_t* out,
                           int64_t* status, const A3dRun* run) {
  return a3d::confusion<A3D_LAUNCHER>(*prediction, point_to_voxel, voxels, {table, table_length},
                                      out, status, *run);
}

int64_t a3d_cuda_point_scores(const A3dPrediction* logits, int64_t* entropy, int64_t* margin,
                              int64_t* status, const A3dRun* run) {
  return a3d::point_scores<A3D_LAUNCHER>(*logits, entropy, margin, status, *run);
}

int64_t a3d_cuda_select(const A3dSelect* in, const A3dRun* run) {
  return a3d::select<A3D_LAUNCHER>(*in, *run);
}

int64_t a3d_cuda_interpolation(const A3dBatch* points, const A3dBatch* cells, int64_t stride,
                               int64_t* index, float* weight, int64_t* status, const A3dRun* run) {
  return a3d::interpolation<A3D_LAUNCHER>(*points, *cells, stride, index, weight, status, *run);
}

int64_t a3d_cuda_devoxelize(const void* features, int64_t wide, int64_t feature_rows,
                            int64_t columns, const int64_t* index, const void* weight, int64_t rows,
                            int64_t neighbours, void* out, int64_t* status, const A3dRun* run) {
  const auto run_as = wide ? a3d::gather<double> : a3d::gather<float>;
  return run_as(features, feature_rows, columns, index, weight, rows, neighbours, out, status,
                *run);
}

int64_t a3d_cuda_devoxelize_backward(const void* grad, int64_t wide, int64_t feature_rows,
                                     int64_t columns, const int64_t* index, const void* weight,
                                     int64_t rows, int64_t neighbours, void* out,
                                     const A3dRun* run) {
  const auto run_as = wide ? a3d::scatter<double> : a3d::scatter<float>;
  return run_as(grad, feature_rows, columns, index, weight, rows, neighbours, out, *run);
}
