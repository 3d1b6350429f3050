// Rows that a sparse convolution gathers.
#include "../abi.h"
#include "cell_blocks.h"
#include "guard.h"

namespace a3d {
namespace {

// The rows that a kernel meets around one base cell after the other of a scan.
class Kernel {
 public:
  explicit Kernel(const Reaches& plan) : plan_(plan), near_(plan.neighbours().size()) {}

  // The input cells; at the beginning of each scan.
  void enter(const Blocks& blocks) {
    blocks_ = &blocks;
    here_ = {};
    ++visit_;
  }

  // meet(i, row of the cell at (x, y, z) + offset i) for each offset that leads to a cell.
  template <class Meet>
  void around(int64_t x, int64_t y, int64_t z, const Meet& meet) {
    if (x >> 2 != here_.x || y >> 2 != here_.y || z >> 2 != here_.z) {
      here_ = {x >> 2, y >> 2, z >> 2};
      ++visit_;
    }
    const int place = bit_of(x, y, z);
    for (auto reach = plan_.begin(place), end = plan_.end(place); reach != end; ++reach) {
      Near& near = near_[size_t(reach->neighbour)];
      if (near.visit != visit_) {
        const Wide& step = plan_.neighbours()[size_t(reach->neighbour)];
        near = {blocks_->find({here_.x + step.x, here_.y + step.y, here_.z + step.z}), visit_};
      }
      reach->meet(near.block, meet);
    }
  }

 private:
  struct Near {
    Blocks::Block block;
    int64_t visit = 0;  // in which it was looked up
  };
  const Reaches& plan_;
  const Blocks* blocks_ = nullptr;
  std::vector<Near> near_;
  int64_t visit_ = 0;
  Wide here_{};
};

}  // namespace
}  // namespace a3d

int64_t a3d_kernel_map(const int32_t* cells, const int64_t* splits, int64_t scans,
                       const int32_t* offsets, int64_t k, const int32_t* out_cells,
                       const int64_t* out_splits, int64_t stride, int64_t* out) {
  return a3d::guarded([&]() -> int64_t {
    const auto* inputs = reinterpret_cast<const a3d::Cell*>(cells);
    const auto* bases = reinterpret_cast<const a3d::Cell*>(out_cells);
    const int64_t columns = out_splits[scans];
    if (k > a3d::Reaches::kMostOffsets) return a3d::kBadValue;
    const a3d::Reaches plan(reinterpret_cast<const a3d::Cell*>(offsets), k);
    std::fill(out, out + k * columns, -1);
    a3d::Kernel kernel(plan);
    a3d::Blocks blocks;
    for (int64_t scan = 0; scan < scans; ++scan) {
      if (!blocks.build(inputs, splits[scan], splits[scan + 1])) return a3d::kBadValue;
      kernel.enter(blocks);
      for (int64_t v = out_splits[scan]; v < out_splits[scan + 1]; ++v)
        kernel.around(bases[v].x * stride, bases[v].y * stride, bases[v].z * stride,
                      [&](int64_t i, int32_t row) { out[i * columns + v] = row; });
    }
    for (const auto& [first, again] : plan.repeats())
      std::copy_n(out + first * columns, columns, out + again * columns);
    return 0;
  });
}
