// The launches of the fused selection: one fill and six kernels (five without a prediction: the
// insertion then has nothing beside it).
#pragma once

#include "bodies/select.h"
#include "run_rows.h"

namespace a3d {

struct SelectSpace {
  Flag flag;
  int32_t* places;
  CellTableOf<PointCells> cells;
  Voxels voxels;
  uint32_t *slot_of, *voxel_of_slot;
  uint8_t* classes_of;
  int64_t* score_of;
  Voxel* records;
  int64_t ones, used;

  SelectSpace(const A3dSelect& in, const A3dRun& run) {
    Workspace space(run);
    const int64_t n = in.batch.rows, capacity = Table::capacity_for(n);
    const bool vcd = in.score == A3D_VCD, none = in.score == A3D_NONE;
    const PointCells points{in.batch.points, in.batch.stride, float(in.size)};
    flag.at = space.take<int32_t>(1);
    places = space.take<int32_t>(in.batch.scans * in.k);
    voxels.used = space.take<int32_t>((n + kRegion - 1) / kRegion);
    cells = {points, {in.batch.splits, in.batch.scans}, {space.take<uint64_t>(capacity), capacity}};
    ones = space.used();
    slot_of = space.take<uint32_t>(n);
    voxel_of_slot = space.take<uint32_t>(capacity);
    voxels.columns = int32_t(in.prediction.classes) + 1;
    voxels.slot = space.take<uint32_t>(n);
    voxels.asked = space.take<int32_t>(n);
    voxels.histogram = space.take<uint32_t>(vcd ? n * voxels.columns : 0);
    voxels.total = space.take<int64_t>(vcd ? 0 : n);
    voxels.count = space.take<uint32_t>(vcd ? 0 : n);
    classes_of = space.take<uint8_t>(vcd ? in.prediction.rows : 0);
    score_of = space.take<int64_t>(vcd || none ? 0 : in.prediction.rows);
    records = space.take<Voxel>(n);
    used = space.used();
  }
};

// The body that scores the rows of the prediction.
template <class Then>
void with_prediction(const A3dSelect& in, const SelectSpace& s, Then then) {
  switch (in.score) {
    case A3D_NONE: return then(Nothing{}, 0);
    case A3D_VCD: return with_classes(in.prediction, s.classes_of, s.flag, then);
    case A3D_ENTROPY:
      return with_logits<float>(in.prediction, RowScores{s.score_of, nullptr}, s.flag, then);
    default: return with_logits<float>(in.prediction, RowScores{nullptr, s.score_of}, s.flag, then);
  }
}

template <class Launcher>
int64_t select(const A3dSelect& in, const A3dRun& run) {
  const SelectSpace s(in, run);
  const int64_t n = in.batch.rows, picks = in.batch.scans * in.k;
  const Scoring scoring{Score(in.score), in.mean != 0, int32_t(in.prediction.classes)};
  return launched<Launcher>(run, s.used, [&](Launcher& launch) {
    launch.fill(run.workspace, 0xFF, s.ones);
    const InsertPoints insert{s.cells, n, scoring, s.voxels, s.slot_of, s.voxel_of_slot, s.flag};
    with_prediction(in, s, [&](auto body, int64_t rows) { launch.both(insert, n, body, rows); });
    const int64_t asked = in.asked.rows;
    launch.each(AddPoints{s.cells, n, asked, in.prediction.rows,
                          {in.asked.splits, in.asked.scans},
                          reinterpret_cast<const Cell*>(in.asked.cells), scoring, s.voxels,
                          s.voxel_of_slot, in.row_of_point, s.classes_of, s.score_of, s.slot_of,
                          s.flag},
                n + asked);
    const Limits limits{in.seeds, float(in.size), in.max_range * in.max_range, in.min_points};
    launch.each(FinishVoxels{s.cells, n, scoring, s.voxels, {in.table, in.table_length}, limits,
                             s.flag, s.records},
                n);
    PickVoxels pick{s.records, s.voxels, n, in.k, true, s.places};
    launch.each(pick, n);
    pick.sample = false;
    launch.each(pick, n);
    launch.each(Emit{s.cells, s.records, s.slot_of, s.places, n, in.k, s.flag,
                     reinterpret_cast<Cell*>(in.cells), in.scores, in.counts, in.pick_of_point,
                     in.point_scores, in.status},
                n > picks ? n : picks > 1 ? picks : 1);
  });
}

}  // namespace a3d
