// Makes rulebooks: see A3dRulebook. Scans are indexed side by side, and so are blocks of output rows
// searched; what comes out does not depend on the number of threads.
#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "../abi.h"
#include "cell_blocks.h"
#include "guard.h"

namespace {

// What a kernel meets around an output row.
struct Met {
  int32_t row_in, row_out, offset;
};

}  // namespace

// The pairs of blocks of output rows, in the order of these.
struct A3dPairs {
  A3dPairs(int64_t blocks, int64_t k)
      : blocks(blocks), k(k), starts(size_t(blocks + 1)), counts(size_t(blocks * k)) {}
  ~A3dPairs() { a3d_give_memory(met); }
  A3dPairs(const A3dPairs&) = delete;
  A3dPairs& operator=(const A3dPairs&) = delete;

  const int64_t blocks, k;
  std::vector<int64_t> starts;  // [blocks + 1], of met
  std::vector<int64_t> counts;  // [blocks, k]
  Met* met = nullptr;           // [pairs]
};

int64_t a3d_rulebook(const int32_t* cells, const int64_t* splits, int64_t scans,
                     const int32_t* offsets, int64_t k, int64_t block_rows, int64_t threads,
                     A3dPairs** rules) {
  *rules = nullptr;
  return a3d::guarded([&]() -> int64_t {
    const auto* all = reinterpret_cast<const a3d::Cell*>(cells);
    const int64_t rows = splits[scans], blocks = (rows + block_rows - 1) / block_rows;
    if (k > a3d::Reaches::kMostOffsets) return a3d::kBadValue;
    const a3d::Reaches plan(reinterpret_cast<const a3d::Cell*>(offsets), k);
    if (!plan.repeats().empty()) return a3d::kBadValue;
    std::vector<a3d::Blocks> inputs(static_cast<size_t>(scans));
    const int64_t status = a3d::guarded_run(scans, threads, [&](int64_t scan) -> int64_t {
      a3d::Blocks& input = inputs[size_t(scan)];
      if (!input.build(all, splits[scan], splits[scan + 1])) return a3d::kBadValue;
      input.link(plan.neighbours());
      return 0;
    });
    if (status < 0) return status;
    std::unique_ptr<A3dPairs> found(new A3dPairs(blocks, k));
    // work(reach, block of cells, output row) for what lies around the rows of a block.
    const auto around = [&](int64_t b, const auto& work) {
      const int64_t first = b * block_rows, stop = std::min(first + block_rows, rows);
      int64_t scan = std::upper_bound(splits, splits + scans, first) - splits - 1;
      for (int64_t row = first; row < stop; ++row) {
        while (row >= splits[scan + 1]) ++scan;
        const int place = a3d::bit_of(all[row].x, all[row].y, all[row].z);
        inputs[size_t(scan)].visit(plan, row - splits[scan], place,
                                   [&](const auto& reach, const auto& block) { work(reach, block, row); });
      }
    };
    a3d::guarded_run(blocks, threads, [&](int64_t b) -> int64_t {
      int64_t pairs = 0;
      around(b, [&](const auto& reach, const auto& block, int64_t) {
        pairs += a3d::count_bits(block.mask & reach.mask);
      });
      found->starts[size_t(b + 1)] = pairs;
      return 0;
    });
    std::partial_sum(found->starts.begin(), found->starts.end(), found->starts.begin());
    const int64_t pairs = found->starts.back();
    found->met = static_cast<Met*>(a3d_take_memory(size_t(pairs) * sizeof(Met) + 1));
    if (!found->met) return a3d::kNoMemory;
    a3d::guarded_run(blocks, threads, [&](int64_t b) -> int64_t {
      Met* met = found->met + found->starts[size_t(b)];
      int64_t* const counts = found->counts.data() + b * k;
      around(b, [&](const auto& reach, const auto& block, int64_t row) {
        reach.meet(block, [&](int64_t i, int32_t in) {
          *met++ = {in, int32_t(row), int32_t(i)};
          ++counts[i];
        });
      });
      return 0;
    });
    *rules = found.release();
    return pairs;
  });
}

int64_t a3d_rulebook_write(const A3dPairs* rules, int64_t threads, int32_t* rows_in,
                           int32_t* rows_out, int64_t* starts) {
  const int64_t k = rules->k;
  *starts = 0;
  std::partial_sum(rules->counts.begin(), rules->counts.end(), starts + 1);
  return a3d::guarded_run(rules->blocks, threads, [&](int64_t b) -> int64_t {
    std::vector<int64_t> next(starts + b * k, starts + (b + 1) * k);
    for (int64_t i = rules->starts[size_t(b)]; i < rules->starts[size_t(b + 1)]; ++i) {
      const Met& met = rules->met[i];
      const int64_t to = next[size_t(met.offset)]++;
      rows_in[to] = met.row_in;
      rows_out[to] = met.row_out;
    }
    return 0;
  });
}

void a3d_rulebook_free(A3dPairs* rules) { delete rules; }

int64_t a3d_rulebook_sort(const int64_t* offset, const int64_t* rows_in, const int64_t* rows_out,
                          int64_t pairs, int64_t k, int64_t block_rows, int64_t outputs,
                          int32_t* sorted_in, int32_t* sorted_out, int64_t* starts) {
  return a3d::guarded([&]() -> int64_t {
    const int64_t lists = (outputs + block_rows - 1) / block_rows * k;
    std::fill(starts, starts + lists + 1, 0);
    const auto list_of = [&](int64_t i) { return rows_out[i] / block_rows * k + offset[i]; };
    for (int64_t i = 0; i < pairs; ++i) {
      if (offset[i] < 0 || offset[i] >= k || rows_out[i] < 0 || rows_out[i] >= outputs)
        return a3d::kBadValue;
      ++starts[list_of(i) + 1];
    }
    for (int64_t i = 0; i < lists; ++i) starts[i + 1] += starts[i];
    std::vector<int64_t> next(starts, starts + lists);
    for (int64_t i = 0; i < pairs; ++i) {
      const int64_t to = next[size_t(list_of(i))]++;
      sorted_in[to] = int32_t(rows_in[i]);
      sorted_out[to] = int32_t(rows_out[i]);
    }
    return 0;
  });
}
