// The C ABI: what is chosen by variant, and what all variants share.
#include <atomic>
#include <cstring>
#include <new>
#include <string>

#include "variant.h"

#ifndef A3D_VERSION
#define A3D_VERSION "unknown"
#endif
#ifndef A3D_FLAGS
#define A3D_FLAGS "unknown"
#endif
#ifdef _MSC_VER
#define A3D_COMPILER "MSVC"
#else
#define A3D_COMPILER __VERSION__
#endif

extern const A3dVariant a3d_variant_generic;
#if defined(A3D_X86_VARIANTS)
extern const A3dVariant a3d_variant_v3, a3d_variant_v4;
#endif

namespace {

constexpr int kMostVariants = 3;

// Those that this machine runs, the best one first.
int runnable(const A3dVariant** out) {
  int count = 0;
#if defined(A3D_X86_VARIANTS)
  __builtin_cpu_init();
  const auto has = [](bool supported) { return supported; };
  const bool v3 = has(__builtin_cpu_supports("avx2")) && has(__builtin_cpu_supports("fma")) &&
                  has(__builtin_cpu_supports("bmi")) && has(__builtin_cpu_supports("bmi2")) &&
                  has(__builtin_cpu_supports("popcnt"));
  const bool v4 = v3 && has(__builtin_cpu_supports("avx512f")) &&
                  has(__builtin_cpu_supports("avx512bw")) &&
                  has(__builtin_cpu_supports("avx512cd")) &&
                  has(__builtin_cpu_supports("avx512dq")) && has(__builtin_cpu_supports("avx512vl"));
  if (v4) out[count++] = &a3d_variant_v4;
  if (v3) out[count++] = &a3d_variant_v3;
#endif
  out[count++] = &a3d_variant_generic;
  return count;
}

std::atomic<const A3dVariant*> chosen{nullptr};

const A3dVariant& variant() {
  const A3dVariant* now = chosen.load();
  if (now) return *now;
  const A3dVariant* found[kMostVariants];
  runnable(found);
  chosen.store(found[0]);
  return *found[0];
}

int64_t make_group(const A3dGroup& input, int64_t threads, A3dGroup** out) {
  *out = nullptr;
  auto* group = new (std::nothrow) A3dGroup(input);
  if (!group) return a3d::kNoMemory;
  group->voxels = new (std::nothrow) int64_t[size_t(group->scans) + 1]();
  group->memory = a3d_take_memory(variant().group_bytes(*group));
  const bool enough = group->voxels && group->memory;
  const int64_t voxels = enough ? variant().group(group, threads) : a3d::kNoMemory;
  if (voxels < 0) a3d_group_free(group);
  else *out = group;
  return voxels;
}

}  // namespace

int64_t a3d_abi() { return 4; }

const char* a3d_build() { return A3D_VERSION "\n" A3D_COMPILER "\n" A3D_FLAGS; }

const char* a3d_variants() {
  static const std::string names = [] {
    const A3dVariant* found[kMostVariants];
    const int count = runnable(found);
    std::string text;
    for (int i = 0; i < count; ++i) text += (i ? " " : "") + std::string(found[i]->name);
    return text;
  }();
  return names.c_str();
}

const char* a3d_variant() { return variant().name; }

int64_t a3d_use(const char* name) {
  const A3dVariant* found[kMostVariants];
  const int count = runnable(found);
  for (int i = 0; i < count; ++i)
    if (!std::strcmp(found[i]->name, name)) {
      chosen.store(found[i]);
      return 0;
    }
  return a3d::kBadValue;
}

int64_t a3d_group_points(const float* points, int64_t stride, float size, const int64_t* splits,
                         int64_t scans, int64_t threads, A3dGroup** group) {
  return make_group({points, nullptr, stride, size, splits, scans, nullptr, nullptr}, threads, group);
}

int64_t a3d_group_cells(const int32_t* cells, const int64_t* splits, int64_t scans, int64_t threads,
                        A3dGroup** group) {
  return make_group({nullptr, cells, 3, 0, splits, scans, nullptr, nullptr}, threads, group);
}

void a3d_group_write(const A3dGroup* group, const A3dGroupOut* out, int64_t threads) {
  variant().write_group(group, out, threads);
}

void a3d_group_free(A3dGroup* group) {
  if (!group) return;
  a3d_give_memory(group->memory);
  delete[] group->voxels;
  delete group;
}

int64_t a3d_select(const A3dSelect* question) { return variant().select(question); }

int64_t a3d_classes(const void* prediction, int64_t kind, int64_t rows, int64_t classes,
                    uint8_t* out) {
  return variant().classes(prediction, kind, rows, classes, out);
}

int64_t a3d_point_scores(const float* logits, int64_t rows, int64_t classes, int64_t* entropy,
                         int64_t* margin) {
  return variant().point_scores(logits, rows, classes, entropy, margin);
}

int64_t a3d_histogram(const uint8_t* labels, const int64_t* members, const int64_t* splits,
                      int64_t voxels, int64_t num_classes, int32_t* out) {
  return variant().histogram(labels, members, splits, voxels, num_classes, out);
}

int64_t a3d_confusion(const uint8_t* labels, const int64_t* members, const int64_t* splits,
                      int64_t voxels, const int64_t* table, int64_t* out) {
  return variant().confusion(labels, members, splits, voxels, table, out);
}

int64_t a3d_mean(const void* features, int64_t element, const int64_t* members,
                 const int64_t* splits, int64_t voxels, int64_t channels, void* out) {
  return variant().mean(features, element, members, splits, voxels, channels, out);
}

int64_t a3d_interpolation(const A3dInterpolation* question) {
  return variant().interpolation(question);
}

int64_t a3d_devoxelize(const A3dDevoxelize* question) { return variant().devoxelize(question); }

int64_t a3d_devoxelize_backward(const A3dDevoxelize* question) {
  return variant().devoxelize_backward(question);
}

int64_t a3d_convolve(const A3dConvolution* question) { return variant().convolve(question); }

int64_t a3d_weight_gradient(const A3dWeightGradient* question) {
  return variant().weight_gradient(question);
}

int64_t a3d_batch_norm(const A3dBatchNorm* question) { return variant().batch_norm(question); }

int64_t a3d_batch_norm_gradient(const A3dBatchNorm* question) {
  return variant().batch_norm_gradient(question);
}
