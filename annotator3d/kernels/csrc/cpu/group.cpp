// Points to voxels. One pass numbers the voxels in the order of their first point, a second one
// lists the members of each in file order.
#include <algorithm>
#include <vector>

#include "../abi.h"
#include "../cell_table.h"

namespace {

using a3d::Cell;

struct Output {
  Cell* cells;
  int64_t *scan, *point_to_voxel, *members, *splits, *scan_splits;
};

// `load(first, count, buffer)` gives a pointer to the cells of some rows, or null for a bad value.
template <class Load>
int64_t group(const int64_t* splits, int64_t scans, const Output& out, Load load) {
  constexpr int64_t kBlock = 512, kAhead = 12;
  Cell buffer[kBlock];
  a3d::CellTable table;
  std::vector<int64_t> counts;
  out.scan_splits[0] = 0;
  for (int64_t scan = 0; scan < scans; ++scan) {
    const int64_t stop = splits[scan + 1];
    Cell last{};
    int32_t voxel = -1;  // of the last point: its neighbour on the beam is often in the same cell
    if (scan) table.clear();
    for (int64_t start = splits[scan]; start < stop; start += kBlock) {
      const int64_t rows = std::min(kBlock, stop - start);
      const Cell* cells = load(start, rows, buffer);
      if (!cells) return a3d::kBadValue;
      for (int64_t i = 0; i < rows; ++i) {
        if (i + kAhead < rows) table.prefetch(cells[i + kAhead]);
        if (voxel < 0 || !(cells[i] == last)) {
          last = cells[i];
          const auto next = int32_t(counts.size());
          voxel = table.insert(last, next);
          if (voxel == next) {
            out.cells[voxel] = last;
            out.scan[voxel] = scan;
            counts.push_back(0);
          }
        }
        out.point_to_voxel[start + i] = voxel;
        ++counts[voxel];
      }
    }
    out.scan_splits[scan + 1] = int64_t(counts.size());
  }

  const auto voxels = int64_t(counts.size());
  int64_t total = 0;
  for (int64_t v = 0; v < voxels; ++v) {
    out.splits[v] = total;
    total += counts[v];
    counts[v] = out.splits[v];  // from here on: where the next member goes
  }
  out.splits[voxels] = total;
  for (int64_t i = 0; i < total; ++i) out.members[counts[out.point_to_voxel[i]]++] = i;
  return voxels;
}

}  // namespace

int64_t a3d_voxelize(const float* points, int64_t stride, float size, const int64_t* splits,
                     int64_t scans, int32_t* out_cells, int64_t* out_scan, int64_t* point_to_voxel,
                     int64_t* members, int64_t* out_splits, int64_t* scan_splits) {
  const Output out{reinterpret_cast<Cell*>(out_cells), out_scan,   point_to_voxel, members,
                   out_splits,                         scan_splits};
  return a3d::guarded([&] {
    return group(splits, scans, out, [=](int64_t first, int64_t rows, Cell* buffer) -> const Cell* {
      bool ok = true;
      for (int64_t i = 0; i < rows; ++i) {
        const float* p = points + (first + i) * stride;
        buffer[i] = {a3d::cell_of(p[0], size, ok), a3d::cell_of(p[1], size, ok),
                     a3d::cell_of(p[2], size, ok)};
      }
      return ok ? buffer : nullptr;
    });
  });
}

int64_t a3d_group_cells(const int32_t* cells, const int64_t* splits, int64_t scans,
                        int32_t* out_cells, int64_t* out_scan, int64_t* point_to_voxel,
                        int64_t* members, int64_t* out_splits, int64_t* scan_splits) {
  const Output out{reinterpret_cast<Cell*>(out_cells), out_scan,   point_to_voxel, members,
                   out_splits,                         scan_splits};
  const auto* in = reinterpret_cast<const Cell*>(cells);
  return a3d::guarded([&] {
    return group(splits, scans, out, [=](int64_t first, int64_t, Cell*) { return in + first; });
  });
}
