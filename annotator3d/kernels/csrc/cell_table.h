// Hash table from cells to ids on the CPU: open addressing, cells compared in full.
#pragma once

#include <cstddef>
#include <vector>

#include "cell.h"

#if defined(__GNUC__)
#define A3D_PREFETCH(address) __builtin_prefetch(address, 1)
#else
#define A3D_PREFETCH(address) (void)(address)
#endif

namespace a3d {

class CellTable {
 public:
  CellTable() { resize(12); }

  void clear() {
    slots_.assign(slots_.size(), Slot{{0, 0, 0}, kEmpty});
    used_ = 0;
  }

  // Starts to load what insert() will look at.
  void prefetch(const Cell& cell) const { A3D_PREFETCH(&slots_[hash(cell) >> shift_]); }

  // Id of the cell, or -1.
  int32_t find(const Cell& cell) const { return slots_[locate(cell)].id; }

  // Id of the cell, which becomes `id` if it is new.
  int32_t insert(const Cell& cell, int32_t id) {
    Slot& slot = slots_[locate(cell)];
    if (slot.id != kEmpty) return slot.id;
    slot = {cell, id};
    if (++used_ * 2 > slots_.size()) grow();
    return id;
  }

 private:
  static constexpr int32_t kEmpty = -1;
  struct Slot {
    Cell cell;
    int32_t id;
  };

  size_t locate(const Cell& cell) const {
    size_t i = hash(cell) >> shift_;
    while (slots_[i].id != kEmpty && !(slots_[i].cell == cell)) i = (i + 1) & (slots_.size() - 1);
    return i;
  }

  void resize(int bits) {
    shift_ = 64 - bits;
    slots_.assign(size_t(1) << bits, Slot{{0, 0, 0}, kEmpty});
  }

  void grow() {
    std::vector<Slot> old;
    old.swap(slots_);
    resize(64 - shift_ + 1);
    for (const Slot& slot : old)
      if (slot.id != kEmpty) slots_[locate(slot.cell)] = slot;
  }

  std::vector<Slot> slots_;
  size_t used_ = 0;
  int shift_ = 0;
};

}  // namespace a3d
