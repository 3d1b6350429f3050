// Launches of interpolation and devoxelisation.
#pragma once

#include "bodies/maps.h"
#include "bodies/scores.h"
#include "run_group.h"

namespace a3d {

template <class Launcher>
int64_t interpolation(const A3dBatch& points, const A3dBatch& known, int64_t stride, int64_t* index,
                      float* weight, int64_t* status, const A3dRun& run) {
  Workspace space(run);
  const int64_t capacity = Table::capacity_for(known.rows);
  const Flag flag{space.take<int32_t>(1)};
  const CellTableOf<KnownCells> cells{{reinterpret_cast<const Cell*>(known.cells)},
                                      {known.splits, known.scans},
                                      {space.take<uint64_t>(capacity), capacity}};
  return launched<Launcher>(run, space.used(), [&](Launcher& launch) {
    launch.fill(run.workspace, 0xFF, space.used());
    launch.each(InsertCells{cells, known.rows, flag}, known.rows);
    launch.each(Interpolate{points.points, points.stride, points.rows,
                            {points.splits, points.scans}, cells, float(stride), index, weight,
                            flag},
                points.rows);
    launch.each(Report{flag, status}, 1);
  });
}

template <class Launcher, class T>
int64_t devoxelize(Gather<T> gather, int64_t* status, const A3dRun& run) {
  Workspace space(run);
  gather.flag.at = space.take<int32_t>(1);
  return launched<Launcher>(run, space.used(), [&](Launcher& launch) {
    launch.fill(gather.flag.at, 0xFF, sizeof(int32_t));
    launch.each(gather, gather.size());
    launch.each(Report{gather.flag, status}, 1);
  });
}

template <class Launcher, class T>
int64_t devoxelize_backward(ScatterRows<T> scatter, const int64_t* index, int64_t rows,
                            const A3dRun& run) {
  Workspace space(run);
  const int64_t n = scatter.rows, entries = rows * scatter.neighbours;
  auto* largest = space.take<int64_t>(1);
  auto* counts = space.take<int64_t>(n + 1);  // later the splits
  auto* cursors = space.take<int64_t>(n);
  auto* room = space.take<int64_t>(prefix_room(n));
  auto* total = space.take<int64_t>(1);
  auto* even = space.take<int64_t>(entries);
  auto* odd = space.take<int64_t>(entries);
  return launched<Launcher>(run, space.used(), [&](Launcher& launch) {
    launch.fill(largest, 0xFF, sizeof(int64_t));
    launch.fill(counts, 0, n * int64_t(sizeof(int64_t)));
    launch.each(CountEntries{index, entries, counts}, entries);
    prefix_sums(launch, counts, n, room, total);
    launch.each(EntrySplits{total, n, counts, cursors}, n + 1);
    launch.each(PlaceEntries{index, entries, counts, cursors, odd, largest}, entries);
    sort_segments(launch, {index, counts, n}, entries, even, odd, entries, largest);
    scatter.splits = counts;
    scatter.even = even;
    scatter.odd = odd;
    scatter.largest = largest;
    launch.each(scatter, scatter.size());
  });
}

}  // namespace a3d
