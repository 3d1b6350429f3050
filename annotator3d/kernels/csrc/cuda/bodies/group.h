// Points to voxels, in the order of their first point, with ascending members.
#pragma once

#include "table.h"

namespace a3d {

// What a launch found out: read by the host between the two halves of an operation.
struct Sizes {
  int64_t segments, largest, bad;
};

// Each row finds the slot of its cell; counts[slot] (all ones: none) counts its rows.
template <class Source>
struct InsertRows {
  CellTableOf<Source> cells;
  int64_t rows;
  uint32_t* slot_of;
  uint32_t* counts;
  Flag flag;

  A3D_MEMBER int64_t size() const { return rows; }
  A3D_MEMBER void operator()(int64_t i) const {
    bool ok = true, fresh = false;
    const uint32_t slot = cells.claim(i, ok, fresh);
    if (!ok) flag.raise();
    slot_of[i] = slot;
    atomic_add(&counts[slot], uint32_t(1));
  }
};

// values[i]: for the first row of a voxel 2^32 + rows of the voxel, 0 for others. Their prefix sum
// is then the number of the voxel, and where its members start.
struct FirstRows {
  Table table;
  const uint32_t* slot_of;
  const uint32_t* counts;
  int64_t rows;
  int64_t* values;
  int64_t* largest;  // all ones: -1

  A3D_MEMBER int64_t size() const { return rows; }
  A3D_MEMBER void operator()(int64_t i) const {
    const uint32_t slot = slot_of[i];
    const bool first = table.row(slot) == uint32_t(i);
    const int64_t count = int64_t(counts[slot] + 1);
    values[i] = first ? (int64_t(1) << 32) + count : 0;
    // Looked at first: most voxels would queue at one address for nothing.
    if (first && count > atomic_load(largest)) atomic_max(largest, count);
  }
};

struct GroupSizes {
  const int64_t* total;
  const int64_t* largest;
  Flag flag;
  Sizes* out;

  A3D_MEMBER int64_t size() const { return 1; }
  A3D_MEMBER void operator()(int64_t) const {
    *out = {*total >> 32, *largest < 0 ? 0 : *largest, flag.raised()};
  }
};

// Writes the voxels, and the members of each in any order. `starts`: prefix sum of FirstRows.
// counts: from here on, members that are still to be placed, less 1.
template <class Source>
struct PlaceRows {
  static constexpr int kBlocksPerSm = 5;  // 8, of 32 registers, spill on sm_100
  CellTableOf<Source> cells;
  int64_t rows, voxels;
  const uint32_t* slot_of;
  uint32_t* counts;
  const int64_t* starts;
  Cell* out_cells;
  int64_t *out_scan, *point_to_voxel, *members, *splits, *scan_splits;

  A3D_MEMBER int64_t size() const {
    const int64_t ends = cells.scans.count + 1;
    return rows > ends ? rows : ends;
  }
  A3D_MEMBER void operator()(int64_t i) const {
    if (i <= cells.scans.count) {
      const int64_t row = cells.scans.splits[i];
      scan_splits[i] = row < rows ? voxel_of_first_after(row) : voxels;
    }
    if (i == 0) splits[voxels] = rows;
    if (i >= rows) return;
    const uint32_t slot = slot_of[i];
    const int64_t first = cells.table.row(slot);
    const int64_t voxel = starts[first] >> 32, start = starts[first] & 0xFFFFFFFF;
    point_to_voxel[i] = voxel;
    members[start + atomic_add(&counts[slot], ~uint32_t(0))] = i;
    if (first != i) return;
    out_cells[voxel] = cells.cell(i);
    out_scan[voxel] = cells.scans.of(i);
    splits[voxel] = start;
  }

 private:
  // The first row of a scan is the first of its voxel.
  A3D_MEMBER int64_t voxel_of_first_after(int64_t row) const { return starts[row] >> 32; }
};

// Segments of an array: entry m belongs to segment of[m], and segment s lies at splits[s] ..
struct Segments {
  const int64_t* of;
  const int64_t* splits;
  int64_t count;

  A3D_MEMBER int64_t entries() const { return splits[count]; }
};

constexpr int kRunShift = 6;
constexpr int64_t kRun = 1 << kRunShift;

// How many merges of neighbouring sorted runs sort a segment of this many entries.
A3D_HD int merges_for(int64_t largest) {
  int merges = 0;
  while ((kRun << merges) < largest) ++merges;
  return merges;
}

// Sorts each run of kRun entries of a segment: an entry counts those of its run that are smaller.
struct SortRuns {
  Segments segments;
  const int64_t* in;
  int64_t* out;

  A3D_MEMBER int64_t size() const { return segments.entries(); }
  A3D_MEMBER void operator()(int64_t p) const {
    const int64_t mine = in[p];
    const int64_t segment = segments.of[mine];
    const int64_t start = segments.splits[segment], stop = segments.splits[segment + 1];
    const int64_t begin = p - (p - start) % kRun;
    const int64_t end = begin + kRun < stop ? begin + kRun : stop;
    int64_t smaller = 0;
    for (int64_t q = begin; q < end; ++q) smaller += in[q] < mine;
    out[begin + smaller] = mine;
  }
};

// Merges pairs of sorted runs of 2^shift entries: an entry moves by its rank in the other run.
struct MergeRuns {
  Segments segments;
  const int64_t* in;
  int64_t* out;
  int shift;
  const int64_t* largest;  // entries of the largest segment where only the device knows, or null

  A3D_MEMBER int64_t size() const {
    return largest && *largest <= int64_t(1) << shift ? 0 : segments.entries();
  }
  A3D_MEMBER void operator()(int64_t p) const {
    const int64_t mine = in[p];
    const int64_t segment = segments.of[mine];
    const int64_t start = segments.splits[segment], stop = segments.splits[segment + 1];
    const int64_t width = int64_t(1) << shift, run = (p - start) >> shift;
    const int64_t begin = start + (run << shift);
    int64_t low = run & 1 ? begin - width : begin + width;
    const int64_t pair = run & 1 ? low : begin;
    int64_t high = low + width < stop ? low + width : stop;
    const int64_t other = low;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (in[middle] < mine)
        low = middle + 1;
      else
        high = middle;
    }
    out[pair + (p - begin) + (low - other)] = mine;
  }
};

// Mean of features [rows, columns] over the members of each voxel, summed in float64 in their order.
template <class T>
struct MeanRows {
  const T* features;
  const int64_t *members, *splits;
  int64_t voxels, columns;
  T* out;

  A3D_MEMBER int64_t size() const { return voxels * columns; }
  A3D_MEMBER void operator()(int64_t i) const {
    const int64_t voxel = i / columns, column = i % columns;
    double sum = 0;
    for (int64_t m = splits[voxel]; m < splits[voxel + 1]; ++m)
      sum += double(features[members[m] * columns + column]);
    out[i] = T(sum / double(splits[voxel + 1] - splits[voxel]));
  }
};

}  // namespace a3d
