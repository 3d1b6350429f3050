// The C ABI of the CUDA library, and of the build of the same code for host threads (../host).
//
// Pointers are to device memory, rows are contiguous unless a stride (in elements) is given.
// Nothing is allocated and nothing is synchronised. Every operation ends with an A3dRun; where its
// workspace is null, the operation only returns the bytes that it wants there.
//
// Operations return >= 0, or an error code that a3d_cuda_error() puts into words; what was launched
// before is then unfinished. A value that an operation refuses is no such error: it ends up as 1 in
// its `status` (or `bad`) on the device, and the other outputs then mean nothing.
#pragma once

#include <cstdint>

#define A3D_CUDA_API extern "C" __attribute__((visibility("default")))

extern "C" {

struct A3dRun {
  void* workspace;
  int64_t bytes;
  int64_t device;  // the host build does not use it
  void* stream;    // the number of threads in the host build
};

// A batch of scans: scan b has the rows splits[b] .. splits[b+1].
struct A3dBatch {
  const float* points;   // [rows, 3+], or null
  const int32_t* cells;  // [rows, 3] instead
  int64_t stride;        // floats from point to point
  int64_t rows;
  const int64_t* splits;  // [scans + 1]
  int64_t scans;
};

enum A3dKind : int64_t {
  A3D_LOGITS_F32,
  A3D_LOGITS_F64,
  A3D_LABELS_U8,
  A3D_LABELS_I32,
  A3D_LABELS_I64
};

// Logits [rows, classes] or labels [rows].
struct A3dPrediction {
  const void* data;
  int64_t kind, rows, classes;
};

enum A3dScore : int64_t { A3D_NONE, A3D_VCD, A3D_ENTROPY, A3D_MARGIN };

// What reference.select takes and returns.
struct A3dSelect {
  A3dBatch batch;
  double size;
  A3dPrediction prediction;
  const int64_t* row_of_point;  // null: row i is point i's
  int64_t score;
  int64_t mean;  // of the points' scores; else the maximum
  const int64_t* table;
  int64_t table_length;
  A3dBatch asked;
  const int64_t* seeds;
  int64_t k, min_points;
  double max_range;
  int32_t* cells;          // [scans, k, 3]
  int64_t* scores;         // [scans, k]
  int64_t* counts;         // [scans, k]
  int32_t* pick_of_point;  // [rows]
  int64_t* point_scores;   // [rows], or null
  int64_t* status;
};

}  // extern "C"

A3D_CUDA_API int64_t a3d_cuda_abi();
// Version, compiler, flags and architectures, on a line each.
A3D_CUDA_API const char* a3d_cuda_build();
A3D_CUDA_API const char* a3d_cuda_error(int64_t code);
// 0 if the device can run this library.
A3D_CUDA_API int64_t a3d_cuda_ready(int64_t device);

// Points or cells to voxels, in two halves. The first writes {voxels, points in the largest, bad} to
// sizes [3]; the caller reads them and calls the second with the same batch and workspace. Arrays:
// out_cells [voxels, 3], out_scan [voxels], point_to_voxel [rows], members [rows], out_splits
// [voxels+1], scan_splits [scans+1].
A3D_CUDA_API int64_t a3d_cuda_group_begin(const A3dBatch* batch, double size, int64_t* sizes,
                                          const A3dRun* run);
A3D_CUDA_API int64_t a3d_cuda_group_finish(const A3dBatch* batch, double size, int64_t voxels,
                                           int64_t largest, int32_t* out_cells, int64_t* out_scan,
                                           int64_t* point_to_voxel, int64_t* members,
                                           int64_t* out_splits, int64_t* scan_splits,
                                           const A3dRun* run);
// out [voxels, columns]; it and the features are float32, or float64 if `wide`.
A3D_CUDA_API int64_t a3d_cuda_voxel_mean(const void* features, int64_t wide, const int64_t* members,
                                         const int64_t* splits, int64_t voxels, int64_t columns,
                                         void* out, const A3dRun* run);

// out [voxels, classes].
A3D_CUDA_API int64_t a3d_cuda_histogram(const A3dPrediction* labels, const int64_t* point_to_voxel,
                                        int64_t voxels, int32_t* out, int64_t* status,
                                        const A3dRun* run);
// out [voxels]; a voxel of `table_length` points or more is refused.
A3D_CUDA_API int64_t a3d_cuda_confusion(const A3dPrediction* prediction,
                                        const int64_t* point_to_voxel, int64_t voxels,
                                        const int64_t* table, int64_t table_length, int64_t* out,
                                        int64_t* status, const A3dRun* run);
// entropy, margin [rows].
A3D_CUDA_API int64_t a3d_cuda_point_scores(const A3dPrediction* logits, int64_t* entropy,
                                           int64_t* margin, int64_t* status, const A3dRun* run);
A3D_CUDA_API int64_t a3d_cuda_select(const A3dSelect* in, const A3dRun* run);

// index, weight [rows of the points, 8].
A3D_CUDA_API int64_t a3d_cuda_interpolation(const A3dBatch* points, const A3dBatch* cells,
                                            int64_t stride, int64_t* index, float* weight,
                                            int64_t* status, const A3dRun* run);
// out [rows, columns] of features [feature_rows, columns] and index, weight [rows, neighbours].
// Features (or grad), weight and out are float32, or float64 if `wide`.
A3D_CUDA_API int64_t a3d_cuda_devoxelize(const void* features, int64_t wide, int64_t feature_rows,
                                         int64_t columns, const int64_t* index, const void* weight,
                                         int64_t rows, int64_t neighbours, void* out,
                                         int64_t* status, const A3dRun* run);
// out [feature_rows, columns] of grad [rows, columns]; devoxelize() took this index.
A3D_CUDA_API int64_t a3d_cuda_devoxelize_backward(const void* grad, int64_t wide,
                                                  int64_t feature_rows, int64_t columns,
                                                  const int64_t* index, const void* weight,
                                                  int64_t rows, int64_t neighbours, void* out,
                                                  const A3dRun* run);
