// Cells of a scan in blocks of 4 x 4 x 4 with a bit mask: a kernel meets few blocks, so most probes
// (which miss) cost one bit test and no hash look-up.
#pragma once

#include <algorithm>
#include <vector>

#include "../cell_table.h"

namespace a3d {
namespace {

struct Wide {  // coordinates of a wanted block: may lie outside 32 bits
  int64_t x, y, z;
};

int bit_of(int64_t x, int64_t y, int64_t z) { return int((x & 3) | (y & 3) << 2 | (z & 3) << 4); }

int popcount(uint64_t v) {  // the x86-64 baseline has no instruction for it
  v -= (v >> 1) & 0x5555555555555555u;
  v = (v & 0x3333333333333333u) + ((v >> 2) & 0x3333333333333333u);
  v = (v + (v >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
  return int((v * 0x0101010101010101u) >> 56);
}

// The input cells of one scan.
class Blocks {
 public:
  struct Block {
    uint64_t mask = 0;
    const int32_t* rows = nullptr;  // of the cells in the mask, in the order of their bits
    int32_t row_of(int bit) const {
      const uint64_t flag = uint64_t(1) << bit;
      return mask & flag ? rows[popcount(mask & (flag - 1))] : -1;
    }
  };

  // False: a cell is there twice.
  bool build(const Cell* cells, int64_t start, int64_t stop) {
    table_.clear();
    blocks_.clear();
    block_of_.resize(size_t(stop - start));
    rows_.resize(size_t(stop - start));
    for (int64_t row = start; row < stop; ++row) {
      const Cell& c = cells[row];
      const auto next = int32_t(blocks_.size());
      const int32_t id = table_.insert({c.x >> 2, c.y >> 2, c.z >> 2}, next);
      if (id == next) blocks_.emplace_back();
      const uint64_t flag = uint64_t(1) << bit_of(c.x, c.y, c.z);
      if (blocks_[id].mask & flag) return false;
      blocks_[id].mask |= flag;
      block_of_[row - start] = id;
    }
    const int32_t* rows = rows_.data();
    for (Block& block : blocks_) {
      block.rows = rows;
      rows += popcount(block.mask);
    }
    for (int64_t row = start; row < stop; ++row) {
      const Block& block = blocks_[block_of_[row - start]];
      const uint64_t below = (uint64_t(1) << bit_of(cells[row].x, cells[row].y, cells[row].z)) - 1;
      rows_[size_t(block.rows - rows_.data()) + popcount(block.mask & below)] = int32_t(row);
    }
    return true;
  }

  Block find(const Wide& w) const {
    const Cell cell{int32_t(w.x), int32_t(w.y), int32_t(w.z)};
    if (cell.x != w.x || cell.y != w.y || cell.z != w.z) return {};
    const int32_t id = table_.find(cell);
    return id < 0 ? Block{} : blocks_[id];
  }

 private:
  CellTable table_;
  std::vector<Block> blocks_;
  std::vector<int32_t> block_of_, rows_;
};

// For a base cell at place 0..63 of its block: which neighbour block, and which bit in it, each of
// the offsets leads to.
struct Probes {
  struct Probe {
    int32_t neighbour, bit;
  };
  std::vector<Wide> neighbours;  // relative to the block of the base cell
  std::vector<Probe> probes;     // [64, k]

  Probes(const Cell* offsets, int64_t k) {
    CellTable known;
    probes.reserve(size_t(64 * k));
    for (int place = 0; place < 64; ++place)
      for (int64_t i = 0; i < k; ++i) {
        const int64_t x = (place & 3) + int64_t(offsets[i].x);
        const int64_t y = (place >> 2 & 3) + int64_t(offsets[i].y);
        const int64_t z = (place >> 4) + int64_t(offsets[i].z);
        const Wide block{x >> 2, y >> 2, z >> 2};
        const auto next = int32_t(neighbours.size());
        const int32_t id =
            known.insert({int32_t(block.x), int32_t(block.y), int32_t(block.z)}, next);
        if (id == next) neighbours.push_back(block);
        probes.push_back({id, bit_of(x, y, z)});
      }
  }
};

// The rows that a kernel meets around one base cell after the other of a scan.
class Kernel {
 public:
  explicit Kernel(const Probes& plan)
      : plan_(plan), near_(plan.neighbours.size()), fetched_(near_.size()) {}

  // The input cells; at the beginning of each scan.
  void enter(const Blocks& blocks) {
    blocks_ = &blocks;
    here_ = {};
    std::fill(fetched_.begin(), fetched_.end(), 0);
  }

  // out[i * stride] = row of the cell at (x, y, z) + offset i, or -1.
  template <class Row>
  void probe(int64_t x, int64_t y, int64_t z, int64_t k, Row* out, int64_t stride) {
    if (x >> 2 != here_.x || y >> 2 != here_.y || z >> 2 != here_.z) {
      here_ = {x >> 2, y >> 2, z >> 2};
      std::fill(fetched_.begin(), fetched_.end(), 0);
    }
    const Probes::Probe* probe = plan_.probes.data() + bit_of(x, y, z) * k;
    for (int64_t i = 0; i < k; ++i, ++probe) {
      Blocks::Block& block = near_[size_t(probe->neighbour)];
      if (!fetched_[size_t(probe->neighbour)]) {
        const Wide& step = plan_.neighbours[size_t(probe->neighbour)];
        block = blocks_->find({here_.x + step.x, here_.y + step.y, here_.z + step.z});
        fetched_[size_t(probe->neighbour)] = 1;
      }
      out[i * stride] = block.row_of(probe->bit);
    }
  }

 private:
  const Probes& plan_;
  const Blocks* blocks_ = nullptr;
  std::vector<Blocks::Block> near_;
  std::vector<char> fetched_;
  Wide here_{};
};

}  // namespace
}  // namespace a3d
