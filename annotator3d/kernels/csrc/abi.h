// The C ABI of the CPU library. No torch: pointers to contiguous rows and lengths.
//
// Every function returns >= 0, or one of the negative codes below; it then has written nothing that
// may be used. Output arrays are the caller's.
#pragma once

#include <cstdint>
#include <new>

#if defined(_WIN32)
#define A3D_API extern "C" __declspec(dllexport)
#else
#define A3D_API extern "C" __attribute__((visibility("default")))
#endif

namespace a3d {

constexpr int64_t kBadValue = -1, kNoMemory = -2;

// No C++ exception may cross the C ABI.
template <class Body>
int64_t guarded(Body body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  }
}

}  // namespace a3d

// Number of this interface; native.py refuses a library with another.
A3D_API int64_t a3d_abi();
// Version, compiler and flags, on a line each.
A3D_API const char* a3d_build();

// Groups rows by cell within each of `scans` scans; returns the number of voxels. Arrays: out_cells
// [n,3], out_scan [n], point_to_voxel [n], members [n], out_splits [n+1], scan_splits [scans+1].
A3D_API int64_t a3d_voxelize(const float* points, int64_t stride, float size, const int64_t* splits,
                             int64_t scans, int32_t* out_cells, int64_t* out_scan,
                             int64_t* point_to_voxel, int64_t* members, int64_t* out_splits,
                             int64_t* scan_splits);
A3D_API int64_t a3d_group_cells(const int32_t* cells, const int64_t* splits, int64_t scans,
                                int32_t* out_cells, int64_t* out_scan, int64_t* point_to_voxel,
                                int64_t* members, int64_t* out_splits, int64_t* scan_splits);

// Class of each point, 0..num_classes-1 or 255, from labels or from logits [n, num_classes].
A3D_API int64_t a3d_labels_u8(const uint8_t* in, int64_t n, int64_t num_classes, uint8_t* out);
A3D_API int64_t a3d_labels_i32(const int32_t* in, int64_t n, int64_t num_classes, uint8_t* out);
A3D_API int64_t a3d_labels_i64(const int64_t* in, int64_t n, int64_t num_classes, uint8_t* out);
A3D_API int64_t a3d_argmax_f32(const float* in, int64_t n, int64_t num_classes, uint8_t* out);
A3D_API int64_t a3d_argmax_f64(const double* in, int64_t n, int64_t num_classes, uint8_t* out);

// out [voxels, num_classes], zeroed by the caller.
A3D_API int64_t a3d_histogram(const uint8_t* labels, const int64_t* members, const int64_t* splits,
                              int64_t voxels, int64_t num_classes, int32_t* out);
// out [voxels]; table as long as the largest voxel needs.
A3D_API int64_t a3d_confusion(const uint8_t* labels, const int64_t* members, const int64_t* splits,
                              int64_t voxels, const int64_t* table, int64_t* out);

// out [k, rows of out_cells]. Bad value: a repeated input cell.
A3D_API int64_t a3d_kernel_map(const int32_t* cells, const int64_t* splits, int64_t scans,
                               const int32_t* offsets, int64_t k, const int32_t* out_cells,
                               const int64_t* out_splits, int64_t stride, int64_t* out);
