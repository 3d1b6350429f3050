// The part of select.h for the best k by the largest score of their points (ScoreMode::kBounds):
// intervals of all scores, exact scores of the few points that may decide. Without tiles nothing
// selects in this mode.
#pragma once

#include "point_bounds.h"
#include "select.h"

namespace a3d {
namespace {

#if defined(A3D_TILES)

template <ScoreMode kMode>
bool Scan<kMode>::bounds(const float* logits, int rows, uint32_t first) {
  const bool ok = q_.score == kA3dEntropy
                      ? bound_rows<true>(logits, rows, int(q_.classes), values_)
                      : bound_rows<false>(logits, rows, int(q_.classes), values_);
  for (int i = 0; i < rows; ++i) highest_[first + uint32_t(i)] = uint32_t(high_end(values_[i]));
  return ok;
}

// Scores of single points, many at a time, for the maximum of their voxels: their logits come from
// memory meanwhile.
template <ScoreMode kMode>
class Scan<kMode>::ExactScores {
 public:
  explicit ExactScores(Scan& scan) : scan_(scan), classes_(int(scan.q_.classes)) {}

  void add(uint32_t row, uint32_t voxel) {
    row_[count_] = row;
    voxel_[count_] = voxel;
    const float* logits = logits_of(row);
    for (int c = 0; c < classes_; c += 16) A3D_PREFETCH(logits + c);
    A3D_PREFETCH(logits + classes_ - 1);
    if (++count_ == kMany) finish();
  }

  void finish() {
    for (int begin = 0; begin < count_; begin += kLanes) score(begin, least(count_ - begin, kLanes));
    count_ = 0;
  }

 private:
  static constexpr int kMany = 128;

  const float* logits_of(uint32_t row) const {
    const float* logits = static_cast<const float*>(scan_.q_.prediction);
    return logits + (scan_.start_ + row) * classes_;
  }

  void score(int begin, int count) {
    for (int i = 0; i < count; ++i)
      memcpy(tile_ + i * classes_, logits_of(row_[begin + i]), size_t(classes_) * sizeof(float));
    int64_t scores[kLanes];
    if (scan_.q_.score == kA3dEntropy)
      score_rows<true, false>(tile_, count, classes_, scores, scores);
    else
      score_rows<false, true>(tile_, count, classes_, scores, scores);
    for (int i = 0; i < count; ++i) {
      int64_t& value = scan_.voxels_[voxel_[begin + i]].value;
      value = most(value, scores[i]);
    }
  }

  Scan& scan_;
  int classes_, count_ = 0;
  uint32_t row_[kMany], voxel_[kMany];
  float tile_[kMostClasses * kLanes];
};

// The largest scores of points, computed for those only that may decide: a voxel whose interval
// ends before the best k begin is not among them, nor does a point count that ends before the
// interval of its voxel.
template <ScoreMode kMode>
bool Scan<kMode>::score_by_bounds() {
  const bool is_entropy = q_.score == kA3dEntropy;
  everywhere_ = !(q_.max_range < INFINITY);
  best_.start();
  for (int64_t number = 1; number <= voxels_.count(); ++number) {
    const Voxel& voxel = voxels_[number];
    const int64_t worst = is_entropy ? low_end(voxel.value) : -high_end(voxel.value);
    if (worst >= best_.threshold() && allowed(voxel)) best_.offer({worst, 0, number});
  }
  const int64_t needed = best_.threshold();
  int64_t likely = 0;
  ExactScores exact(*this);
  for (int64_t number = 1; number <= voxels_.count(); ++number) {
    Voxel& voxel = voxels_[number];
    const int64_t low = low_end(voxel.value);
    if ((is_entropy ? high_end(voxel.value) : -low) < needed || !allowed(voxel)) continue;
    likely_[likely++] = uint32_t(number);
    voxel.value = INT64_MIN;
    const int64_t from = is_entropy ? most(low, needed) : low;
    each_run(voxel, [&](uint32_t, uint32_t begin, uint32_t end) {
      for (uint32_t i = begin; i < end; ++i)
        if (highest_[i] >= from) exact.add(i, uint32_t(number));
    });
  }
  exact.finish();
  best_.start();
  for (int64_t i = 0; i < likely; ++i) {
    const Voxel& voxel = voxels_[likely_[i]];
    const int64_t score = is_entropy ? voxel.value : -voxel.value;
    if (score >= best_.threshold()) offer(score, likely_[i]);
  }
  return true;
}

#else

template <ScoreMode kMode>
bool Scan<kMode>::bounds(const float*, int, uint32_t) {
  return false;
}

template <ScoreMode kMode>
bool Scan<kMode>::score_by_bounds() {
  return true;
}

#endif

}  // namespace
}  // namespace a3d
