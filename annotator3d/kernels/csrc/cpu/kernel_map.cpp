// Rows that a sparse convolution gathers.
#include "../abi.h"
#include "cell_blocks.h"
#include "guard.h"

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
