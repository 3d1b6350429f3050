// The C ABI of the CPU library. No torch: pointers to contiguous rows and lengths.
//
// Every function that returns int64_t returns >= 0, or one of the negative codes below; it then has
// written nothing that may be used. Output arrays are the caller's. Functions with `threads` give
// one scan to one thread at a time.
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

}  // namespace a3d

// Number of this interface; cpu_abi.py refuses a library with another.
A3D_API int64_t a3d_abi();
// Version, compiler and flags, on a line each.
A3D_API const char* a3d_build();
// Variants (sets of instructions) in this library that this machine runs, best first, by spaces.
A3D_API const char* a3d_variants();
// Name of the variant in use; the best one at first.
A3D_API const char* a3d_variant();
// Takes another one into use. Bad value: there is none of this name that this machine runs.
A3D_API int64_t a3d_use(const char* name);

// Calls body(data) on so many threads at once (fewer are allowed), the caller's among them, and returns
// when all have returned: GOMP_parallel() of GNU OpenMP.
typedef void (*A3dTeam)(void (*body)(void*), void* data, unsigned threads, unsigned flags);
// Takes the threads of another library into use; null: the library starts threads of its own.
A3D_API int64_t a3d_use_team(A3dTeam team);

// Groups rows by cell within each of `scans` scans. Returns the number of voxels, and in `group` what
// a3d_group_write() needs; a3d_group_free() must be called on that in the end (not after a code).
struct A3dGroup;
A3D_API int64_t a3d_group_points(const float* points, int64_t stride, float size,
                                 const int64_t* splits, int64_t scans, int64_t threads,
                                 A3dGroup** group);
A3D_API int64_t a3d_group_cells(const int32_t* cells, const int64_t* splits, int64_t scans,
                                int64_t threads, A3dGroup** group);
struct A3dGroupOut {
  int32_t* cells;           // [voxels, 3]
  int64_t* scan;            // [voxels]
  int64_t* point_to_voxel;  // [n]
  int64_t* members;         // [n]
  int64_t* splits;          // [voxels+1]
  int64_t* scan_splits;     // [scans+1]
};
A3D_API void a3d_group_write(const A3dGroup* group, const A3dGroupOut* out, int64_t threads);
A3D_API void a3d_group_free(A3dGroup* group);

// What a prediction is made of.
enum A3dKind : int64_t {
  kA3dLogitsF32 = 0,
  kA3dLogitsF64 = 1,
  kA3dLabelsU8 = 2,
  kA3dLabelsI32 = 3,
  kA3dLabelsI64 = 4,
};
enum A3dScore : int64_t { kA3dNone = 0, kA3dVcd = 1, kA3dEntropy = 2, kA3dMargin = 3 };
enum A3dReduce : int64_t { kA3dMax = 0, kA3dMean = 1 };

// The best k voxels of each scan: see reference.select.
struct A3dSelect {
  const float* points;
  int64_t stride;
  const int64_t* splits;  // [scans+1]
  int64_t scans;
  double size;  // a float32
  const void* prediction;
  int64_t kind, prediction_rows;
  const int64_t* rows;  // [n] or null
  int64_t classes, score, reduce;
  const int64_t* table;
  int64_t table_length;
  const int32_t* asked;
  const int64_t* asked_splits;  // [scans+1]
  const int64_t* seeds;         // [scans]
  int64_t k, min_points;
  double max_range;
  int64_t threads;
  int32_t* cells;          // [scans, k, 3]
  int64_t *scores, *counts;  // [scans, k]
  int32_t* pick_of_point;  // [n]
  int64_t* point_scores;   // [n] or null
};
A3D_API int64_t a3d_select(const A3dSelect* question);

// Class of each point, 0..classes-1 or 255, from a prediction of this A3dKind.
A3D_API int64_t a3d_classes(const void* prediction, int64_t kind, int64_t rows, int64_t classes,
                            uint8_t* out);
// [rows] each, from logits [rows, classes].
A3D_API int64_t a3d_point_scores(const float* logits, int64_t rows, int64_t classes,
                                 int64_t* entropy, int64_t* margin);

// out [voxels, num_classes], zeroed by the caller.
A3D_API int64_t a3d_histogram(const uint8_t* labels, const int64_t* members, const int64_t* splits,
                              int64_t voxels, int64_t num_classes, int32_t* out);
// out [voxels]; table as long as the largest voxel needs.
A3D_API int64_t a3d_confusion(const uint8_t* labels, const int64_t* members, const int64_t* splits,
                              int64_t voxels, const int64_t* table, int64_t* out);

// out [voxels, channels], mean over the members, summed in float64; element 4: float, 8: double.
A3D_API int64_t a3d_mean(const void* features, int64_t element, const int64_t* members,
                         const int64_t* splits, int64_t voxels, int64_t channels, void* out);

// The 8 cells around each point: see reference.interpolation. Bad value: also a repeated cell.
struct A3dInterpolation {
  const float* points;
  int64_t point_stride;         // columns in memory
  const int64_t* point_splits;  // [scans+1]
  const int32_t* cells;         // [*, 3]
  const int64_t* splits;        // [scans+1]
  int64_t scans, stride, threads;
  int64_t* index;  // [n, 8]
  float* weight;   // [n, 8]
};
A3D_API int64_t a3d_interpolation(const A3dInterpolation* question);

// out [points, channels] = sum over k of weight[n, k] * features[index[n, k]]; index -1: nothing.
struct A3dDevoxelize {
  const void* input;     // features [voxels, channels], or the gradient [points, channels]
  int64_t element;       // bytes of a number: 4 or 8, of the weights as well
  const int64_t* index;  // [points, neighbours]
  const void* weight;    // [points, neighbours]
  int64_t points, neighbours, voxels, channels;
  void* out;
};
A3D_API int64_t a3d_devoxelize(const A3dDevoxelize* question);
// out [voxels, channels], zeroed by the caller: the gradient of the features.
A3D_API int64_t a3d_devoxelize_backward(const A3dDevoxelize* question);

// out [k, rows of out_cells]. Bad value: a repeated input cell, or more than 65,535 offsets.
A3D_API int64_t a3d_kernel_map(const int32_t* cells, const int64_t* splits, int64_t scans,
                               const int32_t* offsets, int64_t k, const int32_t* out_cells,
                               const int64_t* out_splits, int64_t stride, int64_t* out);

// Pairs (input row, output row) of each kernel offset of a sparse convolution. Those of a block of
// `block_rows` output rows stand together, sorted by offset: the offset k of the block b has the
// pairs starts[b * offsets + k] .. starts[b * offsets + k + 1].
struct A3dRulebook {
  const int32_t *rows_in, *rows_out;  // [pairs]
  const int64_t* starts;              // [blocks * offsets + 1]
  int64_t pairs, offsets, block_rows, inputs, outputs;
};

// out[o] = sum over the pairs (i, o) of in[i] times the weights of the pair's offset, and what is
// added to it; then, if wanted, its ReLU. Bad value: a row or a start that is none.
struct A3dConvolution {
  A3dRulebook rules;
  const void* in;       // [inputs, depth]
  const void* weight;   // where that of depth 0, column 0, offset 0 is; how far apart the others are
  int64_t weight_depth, weight_column, weight_offset;
  const void* bias;      // [columns] or null
  const void* residual;  // [outputs, columns] or null
  int64_t relu;
  void* out;  // [outputs, columns]
  int64_t depth, columns, element, threads;  // element: bytes of a number, 4 or 8
};
A3D_API int64_t a3d_convolve(const A3dConvolution* question);

// out [columns, offsets, depth] = sum over the pairs (i, o) of each offset of grad[o] in[i].
struct A3dWeightGradient {
  A3dRulebook rules;
  const void* in;    // [inputs, depth]
  const void* grad;  // [outputs, columns]
  void* out;
  int64_t depth, columns, element, threads;
};
A3D_API int64_t a3d_weight_gradient(const A3dWeightGradient* question);

// Batch norm of in [rows, channels] with the statistics of its rows, plus `residual` (or null), and a
// ReLU where `relu` is not 0; and its gradients. mean and variance (the biased one) are written by the
// first and read by the second.
struct A3dBatchNorm {
  const void *in, *weight, *bias, *residual;
  void *out, *mean, *variance;
  const void* gradient;  // of out
  void *in_gradient, *weight_gradient, *bias_gradient;
  void* masked_gradient;  // [rows, channels], with a ReLU: the gradient before it
  double epsilon;
  int64_t relu, rows, channels, element, threads;
};
A3D_API int64_t a3d_batch_norm(const A3dBatchNorm* question);
A3D_API int64_t a3d_batch_norm_gradient(const A3dBatchNorm* question);

// The rulebook of a convolution whose output cells are its input cells. Returns the number of pairs,
// and in `rules` what a3d_rulebook_write() needs; a3d_rulebook_free() must be called on that in the
// end (not after a code). Bad value: a repeated cell or offset, or more than 65,535 offsets.
struct A3dPairs;
A3D_API int64_t a3d_rulebook(const int32_t* cells, const int64_t* splits, int64_t scans,
                             const int32_t* offsets, int64_t k, int64_t block_rows, int64_t threads,
                             A3dPairs** rules);
A3D_API int64_t a3d_rulebook_write(const A3dPairs* rules, int64_t threads, int32_t* rows_in,
                                   int32_t* rows_out, int64_t* starts);
A3D_API void a3d_rulebook_free(A3dPairs* rules);

// Puts pairs, each with its offset 0..k-1, in the order of a rulebook; within a list, in theirs.
// Bad value: an offset or an output row that is none.
A3D_API int64_t a3d_rulebook_sort(const int64_t* offset, const int64_t* rows_in,
                                  const int64_t* rows_out, int64_t pairs, int64_t k,
                                  int64_t block_rows, int64_t outputs, int32_t* sorted_in,
                                  int32_t* sorted_out, int64_t* starts);

// The Lovasz-softmax loss of probabilities [rows, classes] in 0..1 and target [rows] in
// 0..classes-1, and its gradient [rows, classes]. Bad value: others. Threads have a class each.
A3D_API int64_t a3d_lovasz(const float* probabilities, const int64_t* target, int64_t rows,
                           int64_t classes, int64_t threads, float* loss, float* gradient);
