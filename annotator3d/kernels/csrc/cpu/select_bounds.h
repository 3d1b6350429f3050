// The part of select.h for the best k by the largest score of their points (ScoreMode::kBounds): keys
// of all points, exact scores of the few that may decide. Without tiles nothing selects in this mode.
#pragma once

#include "point_bounds.h"
#include "select.h"

namespace a3d {
namespace {

#if defined(A3D_TILES)

template <ScoreMode kMode>
bool Scan<kMode>::keys(const float* logits, int rows, uint32_t first) {
  return q_.score == kA3dEntropy
             ? key_rows<true>(logits, rows, int(q_.classes), keys_ + first)
             : key_rows<false>(logits, rows, int(q_.classes), keys_ + first);
}

// Scores of single points, many at a time, for the maximum of their voxels: their logits come from
// memory meanwhile.
template <ScoreMode kMode>
class Scan<kMode>::ExactScores {
 public:
  explicit ExactScores(Scan& scan) : scan_(scan), classes_(int(scan.q_.classes)) {}

  // For exact_[place].
  void add(uint32_t row, uint32_t place) {
    row_[count_] = row;
    place_[count_] = place;
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
      int64_t& value = scan_.exact_[place_[begin + i]];
      value = most(value, scores[i]);
    }
  }

  Scan& scan_;
  int classes_, count_ = 0;
  uint32_t row_[kMany], place_[kMany];
  float tile_[kMostClasses * kLanes];
};

// Exact scores of the first `count` voxels of likely_, from their points whose keys are at least this.
template <ScoreMode kMode>
void Scan<kMode>::score_likely(int64_t count, uint32_t least_key) {
  ExactScores exact(*this);
  for (int64_t place = 0; place < count; ++place) {
    exact_[place] = INT64_MIN;
    each_run(voxels_[likely_[place]], [&](uint32_t, uint32_t begin, uint32_t end) {
      for (uint32_t i = begin; i < end; ++i)
        if (keys_[i] >= least_key) exact.add(i, uint32_t(place));
    });
  }
  exact.finish();
  if (q_.score == kA3dMargin)
    for (int64_t place = 0; place < count; ++place) exact_[place] = -exact_[place];
}

// The k voxels of the best keys are scored first: no voxel that is worse than all of them is among the
// best, and keys tell that of nearly all others.
template <ScoreMode kMode>
bool Scan<kMode>::score_by_bounds() {
  const bool is_entropy = q_.score == kA3dEntropy;
  everywhere_ = !(q_.max_range < INFINITY);
  best_.start();
  for (int64_t number = 1; number <= voxels_.count(); ++number) {
    const int64_t key = voxels_[number].joined, rank = is_entropy ? key : -key;
    if (rank >= best_.threshold() && allowed(number)) best_.offer({rank, 0, number});
  }
  const int64_t first = best_.sort();
  for (int64_t i = 0; i < first; ++i) likely_[i] = uint32_t(best_[i].number);
  score_likely(first, 0);
  uint32_t least_key = 0, most_key = UINT32_MAX;
  if (first == q_.k && first > 0) {
    int64_t worst = exact_[0];
    for (int64_t i = 1; i < first; ++i) worst = least(worst, exact_[i]);
    const double needed = double(worst) / kScoreOne;
    if (is_entropy) least_key = same_bits<uint32_t>(most(float(needed), 0.0f));
    else most_key = same_bits<uint32_t>(most_gap(-needed, int(q_.classes)));
    int64_t likely = 0;
    for (int64_t number = 1; number <= voxels_.count(); ++number) {
      const uint32_t key = voxels_[number].joined;
      if (key >= least_key && key <= most_key && allowed(number))
        likely_[likely++] = uint32_t(number);
    }
    score_likely(likely, least_key);
    best_.start();
    for (int64_t i = 0; i < likely; ++i)
      if (exact_[i] >= best_.threshold()) offer(exact_[i], likely_[i]);
    return true;
  }
  best_.start();
  for (int64_t i = 0; i < first; ++i) offer(exact_[i], likely_[i]);
  return true;
}

#else

template <ScoreMode kMode>
bool Scan<kMode>::keys(const float*, int, uint32_t) {
  return false;
}

template <ScoreMode kMode>
bool Scan<kMode>::score_by_bounds() {
  return true;
}

#endif

}  // namespace
}  // namespace a3d
