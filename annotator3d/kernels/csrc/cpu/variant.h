// What the library has once for each set of instructions, and what it has once for all of them.
//
// A machine may lack the instructions of a variant, so no code of it may run there, not even a copy
// of an inline function that the linker preferred. Hence a variant is one file, variant.cpp, compiled
// several times; everything in it has internal linkage but its table of functions; it calls what is
// declared below and the C library, and uses no std:: template.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../abi.h"

// What a3d_group_points() found.
struct A3dGroup {
  const float* points;  // or null: cells
  const int32_t* cells;
  int64_t stride;
  float size;
  const int64_t* splits;
  int64_t scans;
  void* memory;     // group_bytes() of it
  int64_t* voxels;  // [scans+1], boundaries
};

struct A3dVariant {
  const char* name;
  size_t (*group_bytes)(const A3dGroup& group);
  int64_t (*group)(A3dGroup* group, int64_t threads);
  void (*write_group)(const A3dGroup* group, const A3dGroupOut* out, int64_t threads);
  int64_t (*select)(const A3dSelect* question);
  int64_t (*classes)(const void* prediction, int64_t kind, int64_t rows, int64_t classes,
                     uint8_t* out);
  int64_t (*point_scores)(const float* logits, int64_t rows, int64_t classes, int64_t* entropy,
                          int64_t* margin);
  int64_t (*histogram)(const uint8_t* labels, const int64_t* members, const int64_t* splits,
                       int64_t voxels, int64_t num_classes, int32_t* out);
  int64_t (*confusion)(const uint8_t* labels, const int64_t* members, const int64_t* splits,
                       int64_t voxels, const int64_t* table, int64_t* out);
  int64_t (*mean)(const void* features, int64_t element, const int64_t* members,
                  const int64_t* splits, int64_t voxels, int64_t channels, void* out);
  int64_t (*interpolation)(const A3dInterpolation* question);
  int64_t (*devoxelize)(const A3dDevoxelize* question);
  int64_t (*devoxelize_backward)(const A3dDevoxelize* question);
  int64_t (*convolve)(const A3dConvolution* question);
  int64_t (*weight_gradient)(const A3dWeightGradient* question);
  int64_t (*batch_norm)(const A3dBatchNorm* question);
  int64_t (*batch_norm_gradient)(const A3dBatchNorm* question);
};

// Memory that the library keeps between calls: the page faults of fresh memory can cost more than
// the work done in it. At the beginning of a cache line; null if there is no more.
void* a3d_take_memory(size_t bytes);
void a3d_give_memory(void* memory);  // or null

// Calls task(context, i) for i = 0..tasks-1 on at most so many threads. Returns the lowest result.
int64_t a3d_run(int64_t tasks, int64_t threads, int64_t (*task)(void* context, int64_t i),
                void* context);
