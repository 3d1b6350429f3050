// Points to voxels, numbered in the order of their first point, with the members of each in file
// order. First every scan for itself; its voxels are written once it is known how many there are.
#pragma once

#include "cell_index.h"
#include "variant.h"

namespace a3d {
namespace {

struct Grouped {
  Key key;
};

inline int bits_for(int64_t rows) {
  int bits = 10;
  while ((int64_t(1) << bits) < rows) ++bits;
  return bits;
}

// Of one scan, in the memory of a group. Numbers of voxels count from 1.
struct ScanGroup {
  Grouped* voxels;    // [voxels + 1]
  uint32_t* voxel;    // [rows]
  uint32_t* members;  // [voxels + 1]
};

// The arrays of the scans; `voxels` and others need a place more for each scan.
class GroupMemory {
 public:
  GroupMemory(const A3dGroup& group, Arena& arena)
      : group_(group),
        voxels_(arena.take<Grouped>(rows() + group.scans)),
        voxel_(arena.take<uint32_t>(rows())),
        members_(arena.take<uint32_t>(rows() + group.scans)) {}

  ScanGroup operator[](int64_t scan) const {
    const int64_t start = group_.splits[scan];
    return {voxels_ + start + scan, voxel_ + start, members_ + start + scan};
  }

 private:
  int64_t rows() const { return group_.splits[group_.scans]; }

  const A3dGroup& group_;
  Grouped* voxels_;
  uint32_t *voxel_, *members_;
};

// Returns the number of voxels, or a code. `source` gives the cells of rows.
template <class Source>
int64_t group_scan(const Source& source, int64_t start, int64_t rows, const ScanGroup& out,
                   CellIndex<Grouped>& index) {
  Block block;
  uint32_t numbers[kBlock];  // of the voxels of the runs
  index.start(out.voxels, bits_for(rows) + 2);
  for (int64_t first = 0; first < rows; first += kBlock) {
    const int count = int(least<int64_t>(kBlock, rows - first));
    if (!source.load(start + first, count, block)) return kBadValue;
    const int runs = find_runs(block, count);
    index.visit(block, runs, [&](const RunHit& hit, Grouped&) { numbers[hit.run] = hit.number; });
    uint32_t* const voxel = out.voxel + first;
    int run = -1;
    for (int i = 0; i < count; ++i) {  // without a branch: nobody can guess where a run ends
      run += 1 + block.keep[i];
      voxel[i] = numbers[run];
    }
  }
  return index.count();
}

// Rows `first`... of the results for one scan.
inline void write_scan(const A3dGroup& group, const GroupMemory& memory, const A3dGroupOut& out,
                       int64_t scan) {
  const ScanGroup in = memory[scan];
  const int64_t start = group.splits[scan], first = group.voxels[scan];
  const int64_t voxels = group.voxels[scan + 1] - first;
  for (int64_t v = 0; v < voxels; ++v) {
    int32_t* const cell = out.cells + 3 * (first + v);
    cell[0] = in.voxels[v + 1].key.x;
    cell[1] = in.voxels[v + 1].key.y;
    cell[2] = in.voxels[v + 1].key.z;
    out.scan[first + v] = scan;
  }
  uint32_t* const next = in.members;  // number of members first, then where the next one goes
  memset(next, 0, size_t(voxels + 1) * sizeof(uint32_t));
  const int64_t rows = group.splits[scan + 1] - start;
  for (int64_t row = 0; row < rows; ++row) ++next[in.voxel[row]];
  int64_t total = 0;
  for (int64_t v = 0; v < voxels; ++v) {
    const uint32_t members = next[v + 1];
    out.splits[first + v] = start + total;
    next[v + 1] = uint32_t(total);
    total += members;
  }
  int64_t* const point_to_voxel = out.point_to_voxel + start;
  int64_t* const members = out.members + start;
  for (int64_t row = 0; row < rows; ++row) {
    const uint32_t voxel = in.voxel[row];
    point_to_voxel[row] = first + voxel - 1;
    members[next[voxel]++] = start + row;
  }
}

}  // namespace
}  // namespace a3d
