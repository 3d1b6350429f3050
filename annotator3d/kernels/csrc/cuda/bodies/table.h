// A hash table from (scan, cell) to rows that any number of threads fills at once.
//
// A slot holds 32 bits of the hash and the lowest row that was seen with that cell. It holds no
// cell: to compare, the cell of its row is read from the input, which nobody writes. So one 64-bit
// compare-and-swap claims a slot for good, nobody waits for anybody, and any order of the threads
// ends in the same lowest rows.
#pragma once

#include "atomics.h"

namespace a3d {

// Rows of the scans of a batch: scan b has splits[b] .. splits[b+1].
struct Scans {
  const int64_t* splits;
  int64_t count;

  A3D_MEMBER int64_t of(int64_t row) const {
    int64_t low = 0, high = count - 1;  // the first scan that ends after the row
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (splits[middle + 1] > row)
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  }
  A3D_MEMBER bool holds(int64_t scan, int64_t row) const {
    return row >= splits[scan] && row < splits[scan + 1];
  }
  A3D_MEMBER int64_t rows() const { return splits[count]; }
};

// Cells of points [n, 3+] float32.
struct PointCells {
  const float* points;
  int64_t stride;  // floats from one point to the next
  float size;

  A3D_MEMBER Cell at(int64_t row, bool& ok) const {
    const float* p = points + row * stride;
    return {cell_of(p[0], size, ok), cell_of(p[1], size, ok), cell_of(p[2], size, ok)};
  }
};

// Cells that are known.
struct KnownCells {
  const Cell* cells;

  A3D_MEMBER Cell at(int64_t row, bool&) const { return cells[row]; }
};

struct Table {
  uint64_t* slots;   // all ones: empty
  int64_t capacity;  // above the number of rows, below 2^32

  static constexpr uint64_t kEmpty = ~uint64_t(0);
  static constexpr uint32_t kMissing = ~uint32_t(0);

  static A3D_MEMBER int64_t capacity_for(int64_t rows) { return rows + rows / 2 + 1; }

  static A3D_MEMBER uint64_t key(int64_t scan, const Cell& cell) {
    uint64_t k = hash(cell) + uint64_t(scan) * 0x9E3779B97F4A7C15u;
    k = (k ^ (k >> 32)) * 0xD6E8FEB86659FD93u;
    return k ^ (k >> 32);
  }

  // Slot of the row's cell; `fresh` is set for the one row that claims the slot. same(other): is
  // row `other` of the same scan and cell?
  template <class Same>
  A3D_MEMBER uint32_t claim(uint64_t key, uint32_t row, const Same& same, bool& fresh) const {
    const uint64_t mine = key << 32 | row;
    for (uint32_t slot = home(key);; slot = next(slot)) {
      uint64_t seen = atomic_load(&slots[slot]);
      if (seen == kEmpty) {
        seen = atomic_swap_if(&slots[slot], kEmpty, mine);
        if (seen == kEmpty) {
          fresh = true;
          return slot;
        }
      }
      if (uint32_t(seen >> 32) == uint32_t(key) && same(uint32_t(seen))) {
        if (mine < seen) atomic_min(&slots[slot], mine);
        return slot;
      }
    }
  }

  // Slot of a cell, or kMissing, in a table that is not being filled.
  template <class Same>
  A3D_MEMBER uint32_t find(uint64_t key, const Same& same) const {
    for (uint32_t slot = home(key); slots[slot] != kEmpty; slot = next(slot))
      if (uint32_t(slots[slot] >> 32) == uint32_t(key) && same(row(slot))) return slot;
    return kMissing;
  }

  // Lowest row of the cell in a slot, in a table that is not being filled.
  A3D_MEMBER uint32_t row(uint32_t slot) const { return uint32_t(slots[slot]); }

 private:
  A3D_MEMBER uint32_t home(uint64_t key) const {  // the tag is the low half of the key
    return uint32_t((key >> 32) * uint64_t(capacity) >> 32);
  }
  A3D_MEMBER uint32_t next(uint32_t slot) const {
    return int64_t(slot) + 1 == capacity ? 0 : slot + 1;
  }
};

// The cells of the rows of a batch, in a table.
template <class Source>
struct CellTableOf {
  Source source;
  Scans scans;
  Table table;

  A3D_MEMBER Cell cell(int64_t row) const {
    bool ok = true;
    return source.at(row, ok);
  }

  A3D_MEMBER uint32_t claim(int64_t row, bool& ok, bool& fresh) const {
    const int64_t scan = scans.of(row);
    const Cell mine = source.at(row, ok);
    const auto same = [&](uint32_t other) { return scans.holds(scan, other) && cell(other) == mine; };
    return table.claim(Table::key(scan, mine), uint32_t(row), same, fresh);
  }

  A3D_MEMBER uint32_t find(int64_t scan, const Cell& wanted) const {
    const auto same = [&](uint32_t other) {
      return scans.holds(scan, other) && cell(other) == wanted;
    };
    return table.find(Table::key(scan, wanted), same);
  }
};

}  // namespace a3d
