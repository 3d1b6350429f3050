// Cells of a scan in blocks of 4 x 4 x 4 with a bit mask: a kernel meets few blocks, and what it meets
// in each is found by one comparison of bits.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <utility>
#include <vector>

#include "../cell_table.h"
#include "basics.h"

namespace a3d {
namespace {

struct Wide {  // coordinates of a wanted block: may lie outside 32 bits
  int64_t x, y, z;
  bool operator==(const Wide& other) const { return x == other.x && y == other.y && z == other.z; }
};

int bit_of(int64_t x, int64_t y, int64_t z) { return int((x & 3) | (y & 3) << 2 | (z & 3) << 4); }

// The input cells of one scan.
class Blocks {
 public:
  struct Block {
    uint64_t mask = 0;
    const int32_t* rows = nullptr;  // of the cells in the mask, in the order of their bits
    // Of a bit that is in the mask.
    int32_t row_of(int bit) const { return rows[count_bits(mask & ((uint64_t(1) << bit) - 1))]; }
  };

  // False: a cell is there twice.
  bool build(const Cell* cells, int64_t start, int64_t stop) {
    table_.clear();
    blocks_.clear();
    places_.clear();
    block_of_.resize(size_t(stop - start));
    rows_.resize(size_t(stop - start));
    for (int64_t row = start; row < stop; ++row) {
      const Cell& c = cells[row];
      const auto next = int32_t(blocks_.size());
      const Cell place{c.x >> 2, c.y >> 2, c.z >> 2};
      const int32_t id = table_.insert(place, next);
      if (id == next) {
        blocks_.emplace_back();
        places_.push_back(place);
      }
      const uint64_t flag = uint64_t(1) << bit_of(c.x, c.y, c.z);
      if (blocks_[id].mask & flag) return false;
      blocks_[id].mask |= flag;
      block_of_[row - start] = id;
    }
    const int32_t* rows = rows_.data();
    for (Block& block : blocks_) {
      block.rows = rows;
      rows += count_bits(block.mask);
    }
    for (int64_t row = start; row < stop; ++row) {
      const Block& block = blocks_[block_of_[row - start]];
      const uint64_t below = (uint64_t(1) << bit_of(cells[row].x, cells[row].y, cells[row].z)) - 1;
      rows_[size_t(block.rows - rows_.data()) + count_bits(block.mask & below)] = int32_t(row);
    }
    return true;
  }

  Block find(const Wide& w) const {
    const int32_t id = id_of(w);
    return id < 0 ? Block{} : blocks_[id];
  }

  // Looks up the blocks at these steps from each block, for visit().
  void link(const std::vector<Wide>& steps) {
    steps_ = steps.size();
    links_.assign(blocks_.size() * steps_, -1);
    for (size_t s = 0; s < steps_; ++s) {
      const Wide& step = steps[s];
      const size_t back = size_t(std::find(steps.begin(), steps.end(), Wide{-step.x, -step.y, -step.z}) -
                          steps.begin());
      if (back < s) continue;  // that step found it from the other side
      for (size_t id = 0; id < places_.size(); ++id) {
        const Cell& at = places_[id];
        const int32_t other = id_of({at.x + step.x, at.y + step.y, at.z + step.z});
        if (other < 0) continue;
        links_[id * steps_ + s] = other;
        if (back < steps_) links_[size_t(other) * steps_ + back] = int32_t(id);
      }
    }
  }

  // visit(reach, block) for the blocks around a cell of the scan, its row counted from the first one.
  template <class Reaches, class Visit>
  void visit(const Reaches& plan, int64_t row, int place, const Visit& visit) const {
    const int32_t* const links = links_.data() + size_t(block_of_[size_t(row)]) * steps_;
    for (auto reach = plan.begin(place), end = plan.end(place); reach != end; ++reach)
      if (const int32_t id = links[reach->neighbour]; id >= 0) visit(*reach, blocks_[size_t(id)]);
  }

 private:
  // Of the block at this place, or -1.
  int32_t id_of(const Wide& w) const {
    const Cell cell{int32_t(w.x), int32_t(w.y), int32_t(w.z)};
    if (cell.x != w.x || cell.y != w.y || cell.z != w.z) return -1;
    return table_.find(cell);
  }

  CellTable table_;
  std::vector<Block> blocks_;
  std::vector<Cell> places_;  // of the blocks
  std::vector<int32_t> block_of_, rows_, links_;
  size_t steps_ = 0;
};

// For a base cell at place 0..63 of its block: which bits of which neighbour blocks the offsets reach.
class Reaches {
 public:
  static constexpr int64_t kMostOffsets = UINT16_MAX;
  struct Reach {
    uint64_t mask;             // the bits
    int32_t neighbour;         // of neighbours
    uint16_t* number_of;       // [64] of the offset that leads to a bit

    // meet(offset, row) for the cells of the block that the offsets lead to.
    template <class Block, class Meet>
    void meet(const Block& block, const Meet& meet) const {
      for (uint64_t hits = block.mask & mask; hits; hits &= hits - 1) {
        const int bit = lowest_bit(hits);
        meet(number_of[bit], block.row_of(bit));
      }
    }
  };

  // At most kMostOffsets.
  Reaches(const Cell* offsets, int64_t k) {
    CellTable known;
    for (int place = 0; place < 64; ++place) {
      std::vector<Reach> here;
      for (int64_t i = 0; i < k; ++i) {
        const int64_t x = (place & 3) + int64_t(offsets[i].x);
        const int64_t y = (place >> 2 & 3) + int64_t(offsets[i].y);
        const int64_t z = (place >> 4) + int64_t(offsets[i].z);
        const Wide block{x >> 2, y >> 2, z >> 2};
        const auto next = int32_t(neighbours_.size());
        const int32_t id =
            known.insert({int32_t(block.x), int32_t(block.y), int32_t(block.z)}, next);
        if (id == next) neighbours_.push_back(block);
        auto reach = std::find_if(here.begin(), here.end(),
                                  [&](const Reach& r) { return r.neighbour == id; });
        if (reach == here.end()) {
          numbers_.emplace_back();
          reach = here.insert(here.end(), {0, id, numbers_.back().data()});
        }
        const int bit = bit_of(x, y, z);
        if (reach->mask >> bit & 1) {
          if (place == 0) repeats_.push_back({reach->number_of[bit], i});
          continue;
        }
        reach->mask |= uint64_t(1) << bit;
        reach->number_of[bit] = uint16_t(i);
      }
      reaches_.insert(reaches_.end(), here.begin(), here.end());
      ends_[place + 1] = reaches_.size();
    }
  }

  // Offsets, each with a later one that is the same and is not met.
  const std::vector<std::pair<int64_t, int64_t>>& repeats() const { return repeats_; }
  const std::vector<Wide>& neighbours() const { return neighbours_; }  // relative to the base's block
  const Reach* begin(int place) const { return reaches_.data() + ends_[place]; }
  const Reach* end(int place) const { return reaches_.data() + ends_[place + 1]; }

 private:
  std::vector<std::pair<int64_t, int64_t>> repeats_;
  std::vector<Wide> neighbours_;
  std::vector<Reach> reaches_;  // place by place
  size_t ends_[65] = {};
  std::deque<std::array<uint16_t, 64>> numbers_;
};

}  // namespace
}  // namespace a3d
