// The whole selection of a scan in one pass over its points: voxels, their scores, the best of them.
//
// A voxel has a record of 32 bytes, and a list of its runs. For the confusion the record holds only
// which classes occur: the points of a class are counted, along the list, for the few voxels whose
// number of classes could bring them among the best.
#pragma once

#include "along_runs.h"
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
    uint32_t joined;  // bit c % 32 for each class c that occurs; kBounds: the largest key
    int64_t value;    // maximum of the scores of its points and kAbove, or their sum
  };
};
constexpr int64_t kAbove = int64_t(1) << 40;  // a score and this is above 0
constexpr uint32_t kAsked = 0x80000000u;

struct Runs {  // of a scan, as they come
  uint32_t* begin;  // row of the scan; behind the last: the number of rows
  uint32_t* previous;  // run of the same voxel, number + 1
};

// What the points of a prediction say, if they are given by row: computed once for each row.
struct RowPredictions {
  const uint8_t* classes;
  const int64_t* values;
};

constexpr uint32_t kSpare = 16;  // labels that may be read behind the last

enum class ScoreMode { kNone, kVcd, kMax, kMean, kBounds };  // kBounds: kMax for the best k only

template <ScoreMode kMode>
class Scan {
 public:
  Scan(const A3dSelect& q, int64_t longest, Arena& arena)
      : q_(q),
        voxels_(longest, arena),
        records_(arena.take<Voxel>(longest + 1)),
        runs_{arena.take<uint32_t>(longest + 1), arena.take<uint32_t>(longest)},
        labels_(arena.take<uint8_t>(kMode == ScoreMode::kVcd ? longest + kSpare : 0)),
        gathered_(arena.take<uint8_t>(kMode == ScoreMode::kVcd ? longest + kSpare + kCounted : 0)),
        keys_(arena.take<uint32_t>(kMode == ScoreMode::kBounds ? longest : 0)),
        exact_(arena.take<int64_t>(kMode == ScoreMode::kBounds ? longest : 0)),
        likely_(arena.take<uint32_t>(
            kMode == ScoreMode::kVcd || kMode == ScoreMode::kBounds ? longest + 1 : 0)),
        best_(q.k, arena) {}

  // False: a bad value.
  bool run(int64_t scan, const RowPredictions& given) {
    scan_ = scan;
    start_ = q_.splits[scan];
    rows_ = q_.splits[scan + 1] - start_;
    if (!group(given)) return false;
    mark_asked();
    if (!(kMode == ScoreMode::kBounds ? score_by_bounds() : score())) return false;
    write();
    return true;
  }

 private:
  bool group(const RowPredictions& given) {
    const PointRows points(q_.points, q_.stride, float(q_.size));
    int bits = 10;
    while ((int64_t(1) << bits) < rows_) ++bits;
    voxels_.start(records_, bits);
    run_count_ = 0;
    Block block;
    for (int64_t first = 0; first < rows_; first += kBlock) {
      const int rows = int(least<int64_t>(kBlock, rows_ - first));
      if (!points.load(start_ + first, rows, block)) return false;
      if (!predictions(given, first, rows)) return false;
      add(block, rows, uint32_t(first));
    }
    runs_.begin[run_count_] = uint32_t(rows_);
    return true;
  }

  // Labels or values of the rows of a block.
  bool predictions(const RowPredictions& given, int64_t first, int rows) {
    if (kMode == ScoreMode::kNone) return true;
    const int classes = int(q_.classes);
    if (q_.rows) {
      bool ok = true;
      for (int i = 0; i < rows; ++i) {
        int64_t row = q_.rows[start_ + first + i];
        const bool fits = row >= 0 && row < q_.prediction_rows;
        ok = ok & fits;
        if (!fits) continue;
        if (kMode == ScoreMode::kVcd) labels_[first + i] = given.classes[row];
        else values_[i] = given.values[row];
      }
      return ok;
    }
    if (kMode == ScoreMode::kVcd)
      return labels_of(q_.prediction, q_.kind, start_ + first, rows, classes, labels_ + first);
    const float* logits = static_cast<const float*>(q_.prediction) + (start_ + first) * classes;
    if (kMode == ScoreMode::kBounds) return keys(logits, rows, uint32_t(first));
    return q_.score == kA3dEntropy
               ? score_rows<true, false>(logits, rows, classes, values_, values_)
               : score_rows<false, true>(logits, rows, classes, values_, values_);
  }

  // The key of each row of a block: see select_bounds.h.
  bool keys(const float* logits, int rows, uint32_t first);

  // What the points of each run say together, at its last row.
  void join(const Block& block, int rows, uint32_t first) {
    if (kMode == ScoreMode::kVcd) {
      const uint8_t* const labels = labels_ + first;
      for (int i = 0; i < rows; ++i)
        joined_[i] = labels[i] == kIgnore ? 0 : uint32_t(1) << (labels[i] & 31);
      along_runs<Union>(block, rows, joined_);
    } else if (kMode == ScoreMode::kBounds) {
      memcpy(joined_, keys_ + first, size_t(rows) * sizeof(uint32_t));
      along_runs<Largest>(block, rows, joined_);
    } else if (kMode != ScoreMode::kNone) {
      int64_t sum = 0;
      for (int i = 0; i < rows; ++i) {
        sum &= block.keep[i];
        if (kMode == ScoreMode::kMax) sum = most(sum, values_[i] + kAbove);
        if (kMode == ScoreMode::kMean) sum += values_[i];
        sums_[i] = sum;
      }
    }
  }

  void add(Block& block, int rows, uint32_t first) {
    const int runs = find_runs(block, rows);
    join(block, rows, first);
    uint32_t* const begin = runs_.begin + run_count_;
    for (int run = 0; run < runs; ++run) begin[run] = first + uint32_t(block.begin[run]);
    uint32_t* const previous = runs_.previous + run_count_;
    const uint32_t number = uint32_t(run_count_) + 1;
    const int64_t* const sums = sums_;
    const uint32_t* const joined = joined_;
    voxels_.visit(block, runs, [=, &block](const RunHit& hit, Voxel& voxel) {
      previous[hit.run] = voxel.last_run;
      voxel.last_run = number + uint32_t(hit.run);
      const int end = block.begin[hit.run + 1];
      voxel.points += uint32_t(end - hit.row);
      if (kMode == ScoreMode::kVcd) voxel.joined |= joined[end - 1];
      if (kMode == ScoreMode::kBounds) voxel.joined = most(voxel.joined, joined[end - 1]);
      if (kMode == ScoreMode::kMax) voxel.value = most(voxel.value, sums[end - 1]);
      if (kMode == ScoreMode::kMean) voxel.value += sums[end - 1];
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

  Cell cell_of(int64_t number) const {
    const Key& key = voxels_[number].key;
    return {key.x, key.y, key.z};
  }

  bool allowed(int64_t number) const {
    const Voxel& voxel = voxels_[number];
    return !(voxel.last_run & kAsked) && int64_t(voxel.points) >= q_.min_points &&
           (everywhere_ ||
            in_range(cell_of(number), float(q_.size), q_.max_range * q_.max_range));
  }

  bool score() {
    best_.start();
    everywhere_ = !(q_.max_range < INFINITY);
    if (kMode == ScoreMode::kVcd) {
      for (int64_t number = 1; number <= voxels_.count(); ++number)
        if (voxels_[number].points >= q_.table_length) return false;
      if (!q_.point_scores) {
        score_likeliest();
        return true;
      }
    }
    for (int64_t number = 1; number <= voxels_.count(); ++number) {
      const Voxel& voxel = voxels_[number];
      if (!q_.point_scores && score_of(voxel) < best_.threshold()) continue;
      const int64_t score = score_of(voxel);
      if (q_.point_scores)
        each_run(voxel, [&](uint32_t, uint32_t begin, uint32_t end) {
          for (uint32_t i = begin; i < end; ++i) q_.point_scores[start_ + i] = score;
        });
      if (score >= best_.threshold() && allowed(number)) offer(score, number);
    }
    return true;
  }

  // The confusion for the best k only: voxels of many classes come first, and soon none of the others
  // can be among the best.
  void score_likeliest() {
    prepare_bounds();
    uint32_t heads[256] = {};  // of lists of voxels, by the most classes that each may have
    for (int64_t number = 1; number <= voxels_.count(); ++number) {
      uint32_t& head = heads[most_classes_of(voxels_[number])];
      likely_[number] = head;
      head = uint32_t(number);
    }
    for (int classes = most_classes_; classes >= 0 && bounds_[classes] >= best_.threshold(); --classes)
      for (uint32_t number = heads[classes]; number; number = likely_[number]) {
        const int64_t score = classes < 2 ? 0 : confusion(voxels_[number]);
        if (score >= best_.threshold() && allowed(number)) offer(score, number);
      }
  }

  // As score(), for the best k only: see select_bounds.h.
  bool score_by_bounds();
  void score_likely(int64_t count, uint32_t least_key);
  class ExactScores;

  void offer(int64_t score, int64_t number) {
    best_.offer({score, tie_hash(q_.seeds[scan_], cell_of(number)), number});
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
    for (int64_t d = 2; d <= most_classes; ++d) bounds_[d] = q_.table[d] / d + 3;
    classes_per_bit_ = int((q_.classes + 31) / 32);
    most_classes_ = int(most_classes);
  }

  int64_t most_classes_of(const Voxel& voxel) const {
    const int64_t classes = count_bits(voxel.joined) * classes_per_bit_;
    return least(least<int64_t>(classes, voxel.points), int64_t(most_classes_));
  }

  int64_t score_of(const Voxel& voxel) {
    switch (kMode) {
      case ScoreMode::kVcd:
        return q_.classes <= 32 && !(voxel.joined & (voxel.joined - 1)) ? 0 : confusion(voxel);
      case ScoreMode::kNone:
        return 0;
      default: {
        int64_t value = kMode == ScoreMode::kMax ? voxel.value - kAbove : voxel.value;
        if (kMode == ScoreMode::kMean) {  // rounds down
          const int64_t n = voxel.points, quotient = value / n;
          value = quotient - (value % n < 0 ? 1 : 0);
        }
        return q_.score == kA3dMargin ? -value : value;
      }
    }
  }

  int64_t confusion(const Voxel& voxel) {
    uint8_t* to = gathered_;
    each_run(voxel, [&](uint32_t, uint32_t begin, uint32_t end) {
      const uint8_t* const from = labels_ + begin;
      const uint32_t rows = end - begin;
      memcpy(to, from, kSpare);  // in one go: nobody can guess how many
      if (A3D_UNLIKELY(rows > kSpare)) memcpy(to + kSpare, from + kSpare, rows - kSpare);
      to += rows;
    });
    memset(to, kIgnore, kCounted);
    int64_t n = 0, parts = 0;
    for (uint32_t left = voxel.joined; left; left &= left - 1)
      for (int64_t label = lowest_bit(left); label < q_.classes; label += 32) {
        const int64_t count = count_label(gathered_, int64_t(voxel.points), uint8_t(label));
        n += count;
        parts += q_.table[count];
      }
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
  uint8_t* labels_;     // of the points
  uint8_t* gathered_;   // those of a voxel
  uint32_t* keys_;      // of the points
  int64_t* exact_;      // scores of the voxels in likely_
  uint32_t* likely_;    // voxels that may be among the best; kVcd: see score_likeliest()
  Best best_;
  int64_t scan_ = 0, start_ = 0, rows_ = 0, run_count_ = 0;
  bool everywhere_ = true;
  int classes_per_bit_ = 1, most_classes_ = 1;
  int64_t bounds_[256] = {};
  // Of the points of a block, and of their runs.
  int64_t values_[kBlock], sums_[kBlock];
  alignas(64) uint32_t joined_[kBlock];
};

}  // namespace
}  // namespace a3d

#include "select_bounds.h"
