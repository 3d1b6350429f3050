// Launches that group rows: points into voxels, entries of an index by the row they read.
#pragma once

#include "bodies/group.h"
#include "bodies/prefix.h"
#include "launch.h"

namespace a3d {

// Chunk sums of all levels of a prefix sum over n values.
inline int64_t prefix_room(int64_t n) {
  int64_t room = 0;
  while (n > kChunk) room += n = chunks_of(n);
  return room;
}

// values [n] become the sums of what precedes them.
template <class Launcher>
void prefix_sums(Launcher& launch, int64_t* values, int64_t n, int64_t* room, int64_t* total) {
  if (n <= kChunk) return launch.each(SpreadChunks{values, n, nullptr, total}, 1);
  const int64_t chunks = chunks_of(n);
  launch.each(SumChunks{values, n, room}, chunks);
  prefix_sums(launch, room, chunks, room + chunks, total);
  launch.each(SpreadChunks{values, n, room, nullptr}, chunks);
}

// Sorts the entries of each segment, which lie in `second`; they end up in `first` or, after an odd
// number of merges, in `second`. No segment has more than `most`; where the device knows more, no
// more merges are done than the `largest` needs.
template <class Launcher>
void sort_segments(Launcher& launch, const Segments& segments, int64_t entries, int64_t* first,
                   int64_t* second, int64_t most, const int64_t* largest) {
  launch.each(SortRuns{segments, second, first}, entries);
  for (int merge = 0; merge < merges_for(most); ++merge) {
    const bool odd = merge % 2;
    launch.each(MergeRuns{segments, odd ? second : first, odd ? first : second, kRunShift + merge,
                          largest},
                entries);
  }
}

template <class Source>
struct Grouping {
  CellTableOf<Source> cells;
  Flag flag;
  int64_t* largest;
  uint32_t *counts, *slot_of;
  int64_t *starts, *room, *total, *spare;
  int64_t ones, used;

  Grouping(const A3dBatch& batch, const Source& source, const A3dRun& run) {
    Workspace space(run);
    const int64_t n = batch.rows, capacity = Table::capacity_for(n);
    flag.at = space.take<int32_t>(1);
    largest = space.take<int64_t>(1);
    cells = {source, {batch.splits, batch.scans}, {space.take<uint64_t>(capacity), capacity}};
    counts = space.take<uint32_t>(capacity);
    ones = space.used();
    slot_of = space.take<uint32_t>(n);
    starts = space.take<int64_t>(n);
    room = space.take<int64_t>(prefix_room(n));
    total = space.take<int64_t>(1);
    spare = space.take<int64_t>(n);
    used = space.used();
  }
};

template <class Launcher, class Source>
int64_t group_begin(const A3dBatch& batch, const Source& source, int64_t* sizes,
                    const A3dRun& run) {
  const Grouping<Source> g(batch, source, run);
  const int64_t n = batch.rows;
  return launched<Launcher>(run, g.used, [&](Launcher& launch) {
    launch.fill(run.workspace, 0xFF, g.ones);
    launch.each(InsertRows<Source>{g.cells, n, g.slot_of, g.counts, g.flag}, n);
    launch.each(FirstRows{g.cells.table, g.slot_of, g.counts, n, g.starts, g.largest}, n);
    prefix_sums(launch, g.starts, n, g.room, g.total);
    launch.each(GroupSizes{g.total, g.largest, g.flag, reinterpret_cast<Sizes*>(sizes)}, 1);
  });
}

struct GroupOutput {
  Cell* cells;
  int64_t *scan, *point_to_voxel, *members, *splits, *scan_splits;
};

template <class Launcher, class Source>
int64_t group_finish(const A3dBatch& batch, const Source& source, int64_t voxels, int64_t largest,
                     const GroupOutput& out, const A3dRun& run) {
  const Grouping<Source> g(batch, source, run);
  const int64_t n = batch.rows, ends = batch.scans + 1;
  return launched<Launcher>(run, g.used, [&](Launcher& launch) {
    const bool odd = merges_for(largest) % 2;  // the sorted members end up in out.members
    int64_t* first = odd ? g.spare : out.members;
    int64_t* second = odd ? out.members : g.spare;
    launch.each(
        PlaceRows<Source>{g.cells, n, voxels, g.slot_of, g.counts, g.starts, out.cells, out.scan,
                          out.point_to_voxel, second, out.splits, out.scan_splits},
        n > ends ? n : ends);
    sort_segments(launch, {out.point_to_voxel, out.splits, voxels}, n, first, second, largest,
                  nullptr);
  });
}

template <class Launcher, class T>
int64_t voxel_mean(const MeanRows<T>& mean, const A3dRun& run) {
  return launched<Launcher>(run, 0, [&](Launcher& launch) { launch.each(mean, mean.size()); });
}

}  // namespace a3d
