// One variant of the library: see variant.h. A3D_VARIANT is its name.
#include "variant.h"

#include "convolve.h"
#include "group.h"
#include "neighbours.h"
#include "normalize.h"
#include "select.h"
#include "tasks.h"
#include "voxels.h"
#include "weight_gradient.h"

namespace a3d {
namespace {

int64_t longest_scan(const int64_t* splits, int64_t scans) {
  int64_t longest = 0;
  for (int64_t i = 0; i < scans; ++i) longest = most(longest, splits[i + 1] - splits[i]);
  return longest;
}

size_t group_bytes(const A3dGroup& group) {
  Arena arena(nullptr);
  const GroupMemory memory(group, arena);
  return arena.used();
}

int64_t group_points(A3dGroup* group, int64_t threads) {
  Arena arena(group->memory);
  const GroupMemory memory(*group, arena);
  const int64_t longest = longest_scan(group->splits, group->scans);
  Arena counter(nullptr);
  const CellIndex<Grouped> sample(longest, counter);
  const int64_t status = run(group->scans, threads, [&](int64_t scan) -> int64_t {
    const Memory slots(counter.used());
    if (!slots.get()) return kNoMemory;
    Arena slot_arena(slots.get());
    CellIndex<Grouped> index(longest, slot_arena);
    const int64_t start = group->splits[scan], rows = group->splits[scan + 1] - start;
    const int64_t voxels =
        group->points ? group_scan(PointRows(group->points, group->stride, group->size), start, rows,
                                   memory[scan], index)
                      : group_scan(CellRows(group->cells), start, rows, memory[scan], index);
    if (voxels < 0) return voxels;
    group->voxels[scan + 1] = voxels;
    return 0;
  });
  if (status < 0) return status;
  group->voxels[0] = 0;
  for (int64_t i = 0; i < group->scans; ++i) group->voxels[i + 1] += group->voxels[i];
  return group->voxels[group->scans];
}

void write_group(const A3dGroup* group, const A3dGroupOut* out, int64_t threads) {
  Arena arena(group->memory);
  const GroupMemory memory(*group, arena);
  run(group->scans, threads, [&](int64_t scan) -> int64_t {
    write_scan(*group, memory, *out, scan);
    return 0;
  });
  out->splits[group->voxels[group->scans]] = group->splits[group->scans];
  memcpy(out->scan_splits, group->voxels, size_t(group->scans + 1) * sizeof(int64_t));
}

int64_t classes_of(const void* prediction, int64_t kind, int64_t rows, int64_t classes,
                   uint8_t* out) {
  const bool ok = labels_of(prediction, kind, 0, rows, int(classes), out);
  return ok ? 0 : kBadValue;
}

int64_t scores_of(const float* logits, int64_t rows, int64_t classes, int64_t* entropy,
                  int64_t* margin) {
  const bool ok = score_rows<true, true>(logits, rows, int(classes), entropy, margin);
  return ok ? 0 : kBadValue;
}

// Rows of the prediction, where the points name them: a class or a value for each.
int64_t rows_of(const A3dSelect& q, uint8_t* classes, int64_t* values) {
  constexpr int64_t kChunk = 1 << 14;
  const int64_t chunks = (q.prediction_rows + kChunk - 1) / kChunk;
  return run(chunks, q.threads, [&](int64_t chunk) -> int64_t {
    const int64_t first = chunk * kChunk, rows = least(kChunk, q.prediction_rows - first);
    const int c = int(q.classes);
    if (q.score == kA3dVcd) {
      const bool ok = labels_of(q.prediction, q.kind, first, rows, c, classes + first);
      return ok ? 0 : kBadValue;
    }
    const float* logits = static_cast<const float*>(q.prediction) + first * c;
    const bool ok = q.score == kA3dEntropy
                        ? score_rows<true, false>(logits, rows, c, values + first, values + first)
                        : score_rows<false, true>(logits, rows, c, values + first, values + first);
    return ok ? 0 : kBadValue;
  });
}

template <ScoreMode kMode>
int64_t select_by(const A3dSelect& q) {
  const bool by_row = q.rows && kMode != ScoreMode::kNone;
  const int64_t vcd = kMode == ScoreMode::kVcd;
  const Memory memory(by_row ? size_t(q.prediction_rows * (vcd ? 1 : 8)) + 1 : 1);
  if (!memory.get()) return kNoMemory;
  uint8_t* const classes = static_cast<uint8_t*>(memory.get());
  int64_t* const values = static_cast<int64_t*>(memory.get());
  if (by_row) {
    const int64_t status = rows_of(q, classes, values);
    if (status < 0) return status;
  }
  const int64_t longest = longest_scan(q.splits, q.scans);
  Arena counter(nullptr);
  const Scan<kMode> sample(q, longest, counter);
  return run(q.scans, q.threads, [&](int64_t scan) -> int64_t {
    const Memory own(counter.used());
    if (!own.get()) return kNoMemory;
    Arena arena(own.get());
    Scan<kMode> work(q, longest, arena);
    return work.run(scan, {classes, values}) ? 0 : kBadValue;
  });
}

// Whether few of the points can decide: none but the best are asked for, and those are few.
bool bounds_suffice(const A3dSelect& q) {
#if defined(A3D_TILES)
  constexpr int64_t kPointsForOne = 64;
  return !q.rows && !q.point_scores && q.k * kPointsForOne * q.scans <= q.splits[q.scans];
#else
  return false;
#endif
}

int64_t select(const A3dSelect* q) {
  if (q->score == kA3dNone) return select_by<ScoreMode::kNone>(*q);
  if (q->score == kA3dVcd) return select_by<ScoreMode::kVcd>(*q);
  if (q->reduce == kA3dMean) return select_by<ScoreMode::kMean>(*q);
  return bounds_suffice(*q) ? select_by<ScoreMode::kBounds>(*q) : select_by<ScoreMode::kMax>(*q);
}

int64_t mean_of(const void* features, int64_t element, const int64_t* members,
                const int64_t* splits, int64_t voxels, int64_t channels, void* out) {
  if (element == 4)
    return mean(static_cast<const float*>(features), members, splits, voxels, channels,
                static_cast<float*>(out));
  return mean(static_cast<const double*>(features), members, splits, voxels, channels,
              static_cast<double*>(out));
}

int64_t interpolation(const A3dInterpolation* q) {
  const int64_t longest = longest_scan(q->splits, q->scans);
  Arena counter(nullptr);
  const CellIndex<Grouped> sample(longest, counter);
  counter.take<Grouped>(longest + 1);
  return run(q->scans, q->threads, [&](int64_t scan) -> int64_t {
    const Memory memory(counter.used());
    if (!memory.get()) return kNoMemory;
    Arena arena(memory.get());
    CellIndex<Grouped> index(longest, arena);
    const int64_t start = q->splits[scan], rows = q->splits[scan + 1] - start;
    index.start(arena.take<Grouped>(longest + 1), bits_for(rows) + 1);
    if (!all_different(CellRows(q->cells), start, rows, index)) return kBadValue;
    const int64_t first = q->point_splits[scan], stop = q->point_splits[scan + 1];
    return interpolate(*q, first, stop, start, index) ? 0 : kBadValue;
  });
}

template <class T>
int64_t devoxelize_as(const A3dDevoxelize& q, bool backward) {
  const T* const input = static_cast<const T*>(q.input);
  const T* const weight = static_cast<const T*>(q.weight);
  T* const out = static_cast<T*>(q.out);
  if (backward)
    return devoxelize_backward(input, q.points, q.channels, q.index, weight, q.neighbours, q.voxels,
                               out);
  return devoxelize(input, q.voxels, q.channels, q.index, weight, q.points, q.neighbours, out);
}

int64_t devoxelize_any(const A3dDevoxelize* q) {
  return q->element == 4 ? devoxelize_as<float>(*q, false) : devoxelize_as<double>(*q, false);
}

int64_t devoxelize_backward_any(const A3dDevoxelize* q) {
  return q->element == 4 ? devoxelize_as<float>(*q, true) : devoxelize_as<double>(*q, true);
}

int64_t convolve(const A3dConvolution* q) {
  return q->element == 4 ? Convolution<float>(*q).run() : Convolution<double>(*q).run();
}

int64_t weight_gradient(const A3dWeightGradient* q) {
  return q->element == 4 ? WeightGradient<float>(*q).run() : WeightGradient<double>(*q).run();
}

int64_t batch_norm(const A3dBatchNorm* q) {
  return q->element == 4 ? BatchNorm<float>(*q).forward() : BatchNorm<double>(*q).forward();
}

int64_t batch_norm_gradient(const A3dBatchNorm* q) {
  return q->element == 4 ? BatchNorm<float>(*q).backward() : BatchNorm<double>(*q).backward();
}

}  // namespace
}  // namespace a3d

#define A3D_JOIN(a, b) a##b
#define A3D_TABLE(name) A3D_JOIN(a3d_variant_, name)
#define A3D_TEXT_OF(name) #name
#define A3D_TEXT(name) A3D_TEXT_OF(name)

extern const A3dVariant A3D_TABLE(A3D_VARIANT);
const A3dVariant A3D_TABLE(A3D_VARIANT) = {
    A3D_TEXT(A3D_VARIANT), a3d::group_bytes,    a3d::group_points,
    a3d::write_group,      a3d::select,         a3d::classes_of,
    a3d::scores_of,        a3d::histogram,      a3d::confusion,
    a3d::mean_of,          a3d::interpolation,  a3d::devoxelize_any,
    a3d::devoxelize_backward_any,
    a3d::convolve,         a3d::weight_gradient,
    a3d::batch_norm,       a3d::batch_norm_gradient,
};
