// The whole selection of a scan in one pass over its points: voxels, their scores, the best of them.
//
// A voxel has a record of 32 bytes, and a list of its runs. For the confusion the record holds only
// which classes occur: the histogram is counted, along the list, for the few voxels whose number of
// classes could bring them among the best.
#pragma once

#include "best.h"
#include "cell_index.h"
#include "classes.h"
#include "point_scores.h"
#include "variant.h"

namespace a3d {
namespace {

struct alignas(32) Voxel {
  Key key;
  uint32_t last_run;  // its number + 1; kAsked
  uint32_t points;
  union {
    uint64_t classes;  // bit c % 64 for each class c that occurs
    int64_t value;     // maximum or sum of the score of its points
  };
};
constexpr uint32_t kAsked = 0x80000000u;

struct Runs {  // of a scan, as they come
  uint32_t* begin;  // row of the scan; behind the last: the number of rows
  uint32_t* previous;  // run of the same voxel, number + 1
  uint8_t* label;
};

// What the points of a prediction say, if they are given by row: computed once for each row.
struct Rows {
  const uint8_t* classes;
  const int64_t* values;
};

enum class How { kNone, kVcd, kMax, kMean };

template <How kHow>
class Scan {
 public:
  Scan(const A3dSelect& q, int64_t longest, Cutter& cutter)
      : q_(q),
        voxels_(longest, cutter),
        records_(cutter.take<Voxel>(longest + 1)),
        runs_{cutter.take<uint32_t>(longest + 1), cutter.take<uint32_t>(longest),
              cutter.take<uint8_t>(kHow == How::kVcd ? longest : 0)},
        best_(q.k, cutter) {}

  // False: a bad value.
  bool run(int64_t scan, const Rows& given) {
    scan_ = scan;
    start_ = q_.splits[scan];
    rows_ = q_.splits[scan + 1] - start_;
    if (!group(given)) return false;
    mark_asked();
    if (!score()) return false;
    write();
    return true;
  }

 private:
  bool group(const Rows& given) {
    const PointRows points(q_.points, q_.stride, float(q_.size));
    int bits = 10;
    while ((int64_t(1) << bits) < rows_) ++bits;
    voxels_.start(records_, bits);
    run_count_ = 0;
    Block block;
    for (int64_t first = 0; first < rows_; first += kBlock) {
      const int rows = int(least<int64_t>(kBlock, rows_ - first));
      if (!points.load(start_ + first, rows, block)) return false;
      if (!predictions(given, start_ + first, rows, block)) return false;
      const int runs = find_runs<kHow == How::kVcd>(block, rows);
      add(block, runs, uint32_t(first));
    }
    runs_.begin[run_count_] = uint32_t(rows_);
    return true;
  }

  // Labels or values of the rows of a block.
  bool predictions(const Rows& given, int64_t first, int rows, Block& block) const {
    if (kHow == How::kNone) return true;
    const int classes = int(q_.classes);
    if (q_.rows) {
      bool ok = true;
      for (int i = 0; i < rows; ++i) {
        int64_t row = q_.rows[first + i];
        const bool fits = row >= 0 && row < q_.prediction_rows;
        ok = ok & fits;
        row = fits ? row : 0;
        if (!fits) continue;
        if (kHow == How::kVcd) block.label[i] = given.classes[row];
        else block.value[i] = given.values[row];
      }
      return ok;
    }
    if (kHow == How::kVcd)
      return labels_of(q_.prediction, q_.kind, first, rows, classes, block.label);
    const float* logits = static_cast<const float*>(q_.prediction) + first * classes;
    return q_.score == kA3dEntropy
               ? score_rows<true, false>(logits, rows, classes, block.value, block.value)
               : score_rows<false, true>(logits, rows, classes, block.value, block.value);
  }

  void add(const Block& block, int runs, uint32_t first) {
    uint32_t* const begin = runs_.begin + run_count_;
    for (int run = 0; run < runs; ++run) begin[run] = first + uint32_t(block.begin[run]);
    if (kHow == How::kVcd)
      for (int run = 0; run < runs; ++run)
        runs_.label[run_count_ + run] = uint8_t(block.label[block.begin[run]]);
    uint32_t* const previous = runs_.previous + run_count_;
    const uint32_t number = uint32_t(run_count_) + 1;
    voxels_.visit(block, runs, [=, &block](const Met& met, Voxel& voxel) {
      const int row = met.row, end = block.begin[met.run + 1];
      previous[met.run] = voxel.last_run;
      voxel.last_run = number + uint32_t(met.run);
      voxel.points += uint32_t(end - row);
      if (kHow == How::kVcd) {
        const int label = block.label[row];
        voxel.classes |= uint64_t(label != kIgnore) << (label & 63);
      } else if (kHow == How::kMax) {
        int64_t value = met.fresh ? block.value[row] : most(voxel.value, block.value[row]);
        for (int i = row + 1; i < end; ++i) value = most(value, block.value[i]);
        voxel.value = value;
      } else if (kHow == How::kMean) {
        int64_t value = block.value[row];
        for (int i = row + 1; i < end; ++i) value += block.value[i];
        voxel.value += value;
      }
    });
    run_count_ += runs;
  }

  void mark_asked() {
    for (int64_t i = q_.asked_splits[scan_]; i < q_.asked_splits[scan_ + 1]; ++i) {
      const int32_t* cell = q_.asked + 3 * i;
      if (const uint32_t number = voxels_.find(cell[0], cell[1], cell[2]))
        voxels_[number].last_run |= kAsked;
    }
  }

  bool allowed(const Voxel& voxel) const {
    return !(voxel.last_run & kAsked) && int64_t(voxel.points) >= q_.min_points &&
           (everywhere_ || in_range({voxel.key.x, voxel.key.y, voxel.key.z}, float(q_.size),
                                    q_.max_range * q_.max_range));
  }

  bool score() {
    best_.start();
    everywhere_ = !(q_.max_range < INFINITY);
    if (kHow == How::kVcd) prepare_bounds();
    bool ok = true;
    for (int64_t number = 1; number <= voxels_.count(); ++number) {
      const Voxel& voxel = voxels_[number];
      if (kHow == How::kVcd) {
        ok = ok & (voxel.points < q_.table_length);
        if (!q_.point_scores && bound(voxel) < best_.threshold()) continue;
        if (!ok) continue;
      } else if (!q_.point_scores && score_of(voxel) < best_.threshold()) {
        continue;
      }
      const int64_t score = score_of(voxel);
      if (q_.point_scores)
        each_run(voxel, [&](uint32_t, uint32_t begin, uint32_t end) {
          for (uint32_t i = begin; i < end; ++i) q_.point_scores[start_ + i] = score;
        });
      if (score >= best_.threshold() && allowed(voxel))
        best_.offer({score, tie_hash(q_.seeds[scan_], {voxel.key.x, voxel.key.y, voxel.key.z}),
                     number});
    }
    return ok;
  }

  template <class Visit>
  void each_run(const Voxel& voxel, Visit visit) const {
    for (uint32_t run = voxel.last_run & ~kAsked; run; run = runs_.previous[run - 1])
      visit(run - 1, runs_.begin[run - 1], runs_.begin[run]);
  }

  // No voxel with that many different classes has a higher score. T[d] / d is log2(d) in fixed
  // point; the table is off by half a unit an entry, hence fewer than 2 units in a score.
  void prepare_bounds() {
    const int64_t most_classes = least(q_.classes, q_.table_length - 1);
    for (int64_t d = 1; d <= most_classes; ++d) bounds_[d] = q_.table[d] / d + 3;
    classes_per_bit_ = int((q_.classes + 63) / 64);
    most_classes_ = int(most_classes);
  }

  int64_t bound(const Voxel& voxel) const {
    const int64_t classes = count_bits(voxel.classes) * classes_per_bit_;
    if (classes <= 1) return 0;
    return bounds_[least(least<int64_t>(classes, voxel.points), int64_t(most_classes_))];
  }

  int64_t score_of(const Voxel& voxel) {
    switch (kHow) {
      case How::kVcd:
        return classes_per_bit_ == 1 && !(voxel.classes & (voxel.classes - 1)) ? 0
                                                                              : confusion(voxel);
      case How::kNone:
        return 0;
      default: {
        int64_t value = voxel.value;
        if (kHow == How::kMean) {  // rounds down
          const int64_t n = voxel.points, quotient = value / n;
          value = quotient - (value % n < 0 ? 1 : 0);
        }
        return q_.score == kA3dMargin ? -value : value;
      }
    }
  }

  int64_t confusion(const Voxel& voxel) {
    int64_t n = 0, parts = 0;
    each_run(voxel, [&](uint32_t run, uint32_t begin, uint32_t end) {
      histogram_[runs_.label[run]] += end - begin;
    });
    n = int64_t(voxel.points) - histogram_[kIgnore];
    histogram_[kIgnore] = 0;
    each_run(voxel, [&](uint32_t run, uint32_t, uint32_t) {  // a class that comes again: T[0] = 0
      parts += q_.table[histogram_[runs_.label[run]]];
      histogram_[runs_.label[run]] = 0;
    });
    return entropy(q_.table[n], parts, n);
  }

  void write() {
    int32_t* const pick_of_point = q_.pick_of_point + start_;
    if (rows_) memset(pick_of_point, 0xFF, size_t(rows_) * sizeof(int32_t));  // else maybe null
    const int64_t found = best_.sort();
    for (int64_t i = 0; i < q_.k; ++i) {
      const int64_t at = scan_ * q_.k + i;
      int32_t* const cell = q_.cells + 3 * at;
      if (i >= found) {
        cell[0] = cell[1] = cell[2] = 0;
        q_.scores[at] = q_.counts[at] = 0;
        continue;
      }
      const Voxel& voxel = voxels_[best_[i].number];
      cell[0] = voxel.key.x;
      cell[1] = voxel.key.y;
      cell[2] = voxel.key.z;
      q_.scores[at] = best_[i].score;
      q_.counts[at] = voxel.points;
      each_run(voxel, [=](uint32_t, uint32_t begin, uint32_t end) {
        for (uint32_t row = begin; row < end; ++row) pick_of_point[row] = int32_t(i);
      });
    }
  }

  const A3dSelect& q_;
  CellIndex<Voxel> voxels_;
  Voxel* records_;
  Runs runs_;
  Best best_;
  int64_t scan_ = 0, start_ = 0, rows_ = 0, run_count_ = 0;
  bool everywhere_ = true;
  int classes_per_bit_ = 1, most_classes_ = 1;
  int64_t bounds_[256] = {};
  uint32_t histogram_[256] = {};
};

}  // namespace
}  // namespace a3d
