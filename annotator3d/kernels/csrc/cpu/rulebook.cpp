// Makes rulebooks: see A3dRulebook. Scans are indexed side by side, and so are blocks of output rows
// searched; what comes out does not depend on the number of threads.
#include <algorithm>
#include <vector>

#include "../abi.h"
#include "cell_blocks.h"
#include "guard.h"

namespace {

// The pairs of a block of output rows.
struct Part {
  std::vector<int32_t> rows_in, rows_out;
  std::vector<int64_t> counts;  // [k]
};

}  // namespace

struct A3dPairs {
  std::vector<Part> parts;
  int64_t k;
};

int64_t a3d_rulebook(const int32_t* cells, const int64_t* splits, int64_t scans,
                     const int32_t* offsets, int64_t k, int64_t block_rows, int64_t threads,
                     A3dPairs** rules) {
  *rules = nullptr;
  return a3d::guarded([&]() -> int64_t {
    const auto* all = reinterpret_cast<const a3d::Cell*>(cells);
    const int64_t rows = splits[scans], blocks = (rows + block_rows - 1) / block_rows;
    std::vector<a3d::Blocks> inputs(static_cast<size_t>(scans));
    const int64_t status = a3d::guarded_run(scans, threads, [&](int64_t scan) -> int64_t {
      const bool sound = inputs[size_t(scan)].build(all, splits[scan], splits[scan + 1]);
      return sound ? 0 : a3d::kBadValue;
    });
    if (status < 0) return status;
    const a3d::Probes plan(reinterpret_cast<const a3d::Cell*>(offsets), k);
    std::vector<Part> parts(static_cast<size_t>(blocks));
    const int64_t done = a3d::guarded_run(blocks, threads, [&](int64_t b) -> int64_t {
      const int64_t first = b * block_rows, length = std::min(block_rows, rows - first);
      std::vector<int32_t> table(size_t(k * length));  // [k, rows of the block]
      a3d::Kernel kernel(plan);
      int64_t scan = std::upper_bound(splits, splits + scans, first) - splits - 1;
      kernel.enter(inputs[size_t(scan)]);
      for (int64_t i = 0; i < length; ++i) {
        const int64_t row = first + i;
        if (row >= splits[scan + 1]) {
          while (row >= splits[scan + 1]) ++scan;
          kernel.enter(inputs[size_t(scan)]);
        }
        kernel.probe(all[row].x, all[row].y, all[row].z, k, table.data() + i, length);
      }
      Part& part = parts[size_t(b)];
      part.counts.resize(size_t(k));
      std::vector<int32_t> found(table.size() + 1), of(table.size() + 1);
      size_t count = 0;
      for (int64_t i = 0; i < k; ++i) {
        const size_t before = count;
        for (int64_t r = 0; r < length; ++r) {  // without a branch: nobody can guess it
          const int32_t row = table[size_t(i * length + r)];
          found[count] = row;
          of[count] = int32_t(first + r);
          count += row >= 0;
        }
        part.counts[size_t(i)] = int64_t(count - before);
      }
      part.rows_in.assign(found.begin(), found.begin() + std::ptrdiff_t(count));
      part.rows_out.assign(of.begin(), of.begin() + std::ptrdiff_t(count));
      return 0;
    });
    if (done < 0) return done;
    int64_t pairs = 0;
    for (const Part& part : parts) pairs += int64_t(part.rows_in.size());
    *rules = new A3dPairs{std::move(parts), k};
    return pairs;
  });
}

void a3d_rulebook_write(const A3dPairs* rules, int32_t* rows_in, int32_t* rows_out,
                        int64_t* starts) {
  int64_t total = *starts++ = 0;
  for (const Part& part : rules->parts) {
    rows_in = std::copy(part.rows_in.begin(), part.rows_in.end(), rows_in);
    rows_out = std::copy(part.rows_out.begin(), part.rows_out.end(), rows_out);
    for (const int64_t count : part.counts) *starts++ = total += count;
  }
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
