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
    const a3d::Probes plan(reinterpret_cast<const a3d::Cell*>(offsets), k);
    a3d::Kernel kernel(plan);
    a3d::Blocks blocks;
    for (int64_t scan = 0; scan < scans; ++scan) {
      if (!blocks.build(inputs, splits[scan], splits[scan + 1])) return a3d::kBadValue;
      kernel.enter(blocks);
      for (int64_t v = out_splits[scan]; v < out_splits[scan + 1]; ++v)
        kernel.probe(bases[v].x * stride, bases[v].y * stride, bases[v].z * stride, k, out + v,
                     columns);
    }
    return 0;
  });
}
