// The whole selection of a batch: see reference.select.
//
// A voxel is numbered by the first thread that meets it. Numbers differ from run to run, but nothing
// that leaves depends on them. Those of kRegion rows come from one counter: one counter for all
// would be a queue.
#pragma once

#include "scores.h"
#include "table.h"

namespace a3d {

enum class Score : int32_t { kNone, kVcd, kEntropy, kMargin };

constexpr int64_t kRegion = 1024;

struct Voxel {
  int64_t score;
  uint64_t hash;
  int32_t first;  // row, or -1: not to be picked
  int32_t scan;
  int64_t count;
};

// What there is of each voxel while its points are counted: arrays over voxel numbers.
struct Voxels {
  int32_t* used;        // [regions], less 1
  uint32_t* slot;
  uint32_t* histogram;  // [columns] each, for kVcd: the last one for ignored points
  int64_t* total;       // maximum or sum of the points' scores, for the others
  uint32_t* count;      // points, but for kVcd
  int32_t* asked;
  int32_t columns;

  A3D_MEMBER bool in_use(int64_t v) const { return v % kRegion <= used[v / kRegion]; }
};

struct Scoring {
  Score score;
  bool mean;
  int32_t classes;
};

struct InsertPoints {
  CellTableOf<PointCells> cells;
  int64_t rows;
  Scoring scoring;
  Voxels voxels;
  uint32_t *slot_of, *voxel_of_slot;
  Flag flag;

  A3D_MEMBER int64_t size() const { return rows; }
  A3D_MEMBER void operator()(int64_t i) const {
    bool ok = true, fresh = false;
    const uint32_t slot = cells.claim(i, ok, fresh);
    if (!ok) flag.raise();
    slot_of[i] = slot;
    if (!fresh) return;
    const int64_t region = i / kRegion;
    const int64_t v = region * kRegion + (atomic_add(&voxels.used[region], 1) + 1);
    voxel_of_slot[slot] = uint32_t(v);
    voxels.slot[v] = slot;
    voxels.asked[v] = 0;
    if (scoring.score == Score::kVcd) {
      for (int c = 0; c < voxels.columns; ++c) voxels.histogram[v * voxels.columns + c] = 0;
    } else {
      voxels.total[v] = scoring.mean ? 0 : INT64_MIN;
      voxels.count[v] = 0;
    }
  }
};

// Adds each point to its voxel, and marks the voxels that were asked about.
struct AddPoints {
  CellTableOf<PointCells> cells;
  int64_t rows, asked, prediction_rows;
  Scans asked_scans;
  const Cell* asked_cells;
  Scoring scoring;
  Voxels voxels;
  const uint32_t* voxel_of_slot;
  const int64_t* row_of_point;  // or null: row i is point i's
  const uint8_t* classes_of;    // of a row, for kVcd
  const int64_t* score_of;      // of a row, for kEntropy and kMargin
  uint32_t* slot_of;            // from here on the voxel of the point
  Flag flag;

  A3D_MEMBER int64_t size() const { return rows + asked; }
  A3D_MEMBER void operator()(int64_t i) const {
    if (i >= rows) return mark(i - rows);
    const int64_t v = voxel_of_slot[slot_of[i]];
    slot_of[i] = uint32_t(v);
    if (scoring.score != Score::kVcd) atomic_add(&voxels.count[v], uint32_t(1));
    if (scoring.score == Score::kNone) return;
    const int64_t row = row_of_point ? row_of_point[i] : i;
    if (row < 0 || row >= prediction_rows) return flag.raise();
    if (scoring.score == Score::kVcd) {
      const uint8_t label = classes_of[row];
      const int64_t column = label == kIgnore ? scoring.classes : label;
      atomic_add(&voxels.histogram[v * voxels.columns + column], uint32_t(1));
    } else if (scoring.mean) {
      atomic_add(&voxels.total[v], score_of[row]);
    } else {
      atomic_max(&voxels.total[v], score_of[row]);
    }
  }

 private:
  A3D_MEMBER void mark(int64_t i) const {
    const uint32_t slot = cells.find(asked_scans.of(i), asked_cells[i]);
    if (slot != Table::kMissing) atomic_store(&voxels.asked[voxel_of_slot[slot]], 1);
  }
};

struct Limits {
  const int64_t* seeds;
  float size;
  double range2;  // of the distance
  int64_t min_points;
};

// The score of each voxel, and whether it may be picked.
struct FinishVoxels {
  CellTableOf<PointCells> cells;
  int64_t rows;
  Scoring scoring;
  Voxels voxels;
  ScoreTable table;
  Limits limits;
  Flag flag;
  Voxel* out;

  A3D_MEMBER int64_t size() const { return rows; }
  A3D_MEMBER void operator()(int64_t v) const {
    if (!voxels.in_use(v)) return;
    const int64_t first = cells.table.row(voxels.slot[v]), scan = cells.scans.of(first);
    const Cell cell = cells.cell(first);
    int64_t count, score;
    if (scoring.score == Score::kVcd) {
      const uint32_t* counts = voxels.histogram + v * voxels.columns;
      score = table.score(counts, scoring.classes, flag, count);
      count += counts[scoring.classes];
      if (count >= table.length) flag.raise();
    } else {
      count = voxels.count[v];
      score = reduced(voxels.total[v], count);
    }
    const bool allowed = count >= limits.min_points && !voxels.asked[v] &&
                         in_range(cell, limits.size, limits.range2);
    out[v] = {score, tie_hash(limits.seeds[scan], cell), allowed ? int32_t(first) : -1,
              int32_t(scan), count};
  }

 private:
  A3D_MEMBER int64_t reduced(int64_t total, int64_t count) const {
    if (scoring.score == Score::kNone) return 0;
    // Entropy and margin are never negative, so that the quotient is rounded down.
    const int64_t value = scoring.mean ? total / count : total;
    return scoring.score == Score::kMargin ? -value : value;
  }
};

A3D_HD bool before(const Voxel& a, const Voxel& b) {
  return before(a.score, a.hash, a.first, b.score, b.hash, b.first);
}

// The best k voxels of each scan. Place j of a scan keeps the better of what it holds and what it is
// handed, and the other one goes on to place j + 1: whatever the order of the threads, place j ends
// with the best but j, and the places are sorted at any time. First a few voxels of each scan run
// (`sample`), so that most of the others are turned away by a look at the last place.
struct PickVoxels {
  const Voxel* voxels;
  Voxels numbers;
  int64_t rows, k;
  bool sample;
  int32_t* places;  // [scans, k], all ones: empty

  static constexpr int64_t kSample = 64;

  A3D_MEMBER int64_t size() const { return k ? rows : 0; }
  A3D_MEMBER void operator()(int64_t v) const {
    if ((v % kSample == 0) != sample || !numbers.in_use(v) || voxels[v].first < 0) return;
    int32_t* place = places + voxels[v].scan * k;
    if (!beats(v, atomic_load(place + k - 1))) return;
    int64_t low = 0, high = k - 1;  // a place that was too good stays so
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (beats(v, atomic_load(place + middle)))
        high = middle;
      else
        low = middle + 1;
    }
    auto mine = int32_t(v);
    for (int64_t j = low; j < k && mine >= 0; ++j) mine = exchange(place + j, mine);
  }

 private:
  A3D_MEMBER bool beats(int64_t v, int32_t other) const {
    return other < 0 || before(voxels[v], voxels[other]);
  }
  // Leaves the better of both in the place and returns the other.
  A3D_MEMBER int32_t exchange(int32_t* place, int32_t mine) const {
    int32_t seen = atomic_load(place);
    while (beats(mine, seen)) {
      const int32_t held = atomic_swap_if(place, seen, mine);
      if (held == seen) return seen;
      seen = held;
    }
    return mine;
  }
};

struct Emit {
  CellTableOf<PointCells> cells;
  const Voxel* voxels;
  const uint32_t* voxel_of;
  const int32_t* places;
  int64_t rows, k;
  Flag flag;
  Cell* out_cells;
  int64_t *out_scores, *out_counts;
  int32_t* pick_of_point;
  int64_t* point_scores;  // or null
  int64_t* status;

  A3D_MEMBER int64_t size() const {
    const int64_t picks = cells.scans.count * k > 1 ? cells.scans.count * k : 1;
    return rows > picks ? rows : picks;
  }
  A3D_MEMBER void operator()(int64_t i) const {
    if (i == 0) *status = flag.raised();
    if (i < cells.scans.count * k) pick(i);
    if (i >= rows) return;
    const Voxel& voxel = voxels[voxel_of[i]];
    if (point_scores) point_scores[i] = voxel.score;
    pick_of_point[i] = rank(voxel, int32_t(voxel_of[i]));
  }

 private:
  A3D_MEMBER void pick(int64_t i) const {
    const int32_t v = places[i];
    out_cells[i] = v < 0 ? Cell{0, 0, 0} : cells.cell(voxels[v].first);
    out_scores[i] = v < 0 ? 0 : voxels[v].score;
    out_counts[i] = v < 0 ? 0 : voxels[v].count;
  }

  A3D_MEMBER int32_t rank(const Voxel& voxel, int32_t v) const {
    if (voxel.first < 0) return -1;
    const int32_t* place = places + voxel.scan * k;
    int64_t low = 0, high = k;
    while (low < high) {
      const int64_t middle = high == k ? k - 1 : (low + high) / 2;  // most are below the last
      const int32_t other = place[middle];
      if (other == v) return int32_t(middle);
      if (other >= 0 && before(voxels[other], voxel))
        low = middle + 1;
      else
        high = middle;
    }
    return -1;
  }
};

}  // namespace a3d
