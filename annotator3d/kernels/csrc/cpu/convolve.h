// Sparse convolution by output rows: no gathered matrix, no scattered rows.
//
// A rulebook lists the pairs (input row, output row) of each kernel offset, a block of output rows
// after the other. A task has a block to itself: it stays in the cache while the products of its
// pairs are added offset by offset. A tile of the product - some pairs by a panel of columns - stays
// in registers; its rows of the input are read where they lie. Every number of the output is one
// chain of additions in the order of the rulebook, whoever works on it: the same bits on any number
// of threads.
#pragma once

#include "rulebook.h"
#include "tasks.h"
#include "vectors.h"

namespace a3d {
namespace {

// Pairs and vectors of a tile: as many sums as the registers hold beside their operands.
#if defined(__AVX512F__)
constexpr int kTileRows = 12;
#elif defined(__AVX__) || !defined(A3D_SSE2)
constexpr int kTileRows = 6;
#else
constexpr int kTileRows = 4;
#endif
constexpr int kTileVectors = 2;
constexpr int64_t kPanelBytes = 16384;  // of weights: half of the smallest cache

template <class T>
constexpr int kPanel = kTileVectors * kWidth<T>;  // columns of a panel

template <class T>
constexpr int64_t whole_vectors(int64_t columns) {
  return (columns + kWidth<T> - 1) / kWidth<T> * kWidth<T>;
}

// One by one: an initializer would be written to memory first.
template <class T, int kRows, int kVectors>
A3D_INLINE void clear(Vector<T> (&sums)[kRows][kVectors]) {
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v) sums[r][v] = splat(T(0));
}

// to[0..columns) += sums; kWhole: columns fill the vectors, and no sum leaves its register before.
template <class T, bool kWhole, int kVectors>
A3D_INLINE void add_sums(T* to, const Vector<T> (&sums)[kVectors], int64_t columns) {
  if constexpr (kWhole) {
    for (int v = 0; v < kVectors; ++v) store(to + v * kWidth<T>, load(to + v * kWidth<T>) + sums[v]);
  } else {
    T part[kVectors * kWidth<T>];
    for (int v = 0; v < kVectors; ++v) store(part + v * kWidth<T>, sums[v]);
    for (int64_t c = 0; c < columns; ++c) to[c] += part[c];
  }
}

template <class T>
A3D_INLINE void prefetch_row(const T* row, int64_t length) {
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t c = 0; c < length; c += kLine) A3D_PREFETCH(row + c);
}

// body(Number<vectors>, Number<whether they are whole>) for a panel of so many columns.
template <class T, class Body>
A3D_INLINE void with_panel(int64_t columns, const Body& body) {
  with_number<kTileVectors>(int(whole_vectors<T>(columns) / kWidth<T>), [&](auto vectors) {
    if (columns == decltype(vectors)::value * kWidth<T>) body(vectors, Number<1>());
    else body(vectors, Number<0>());
  });
}

// out[rows_out[i]] += in[rows_in[i]] times a panel, for i < kRows.
template <class T, int kRows, int kVectors, bool kWhole>
A3D_INLINE void multiply_tile(const T* in, int64_t in_stride, const int32_t* rows_in,
                              const T* A3D_RESTRICT panel, int64_t depth, T* out,
                              int64_t out_stride, const int32_t* rows_out, int64_t columns) {
  const T* rows[kRows];
  for (int r = 0; r < kRows; ++r) rows[r] = in + rows_in[r] * in_stride;
  for (int r = 0; r < kRows; ++r) A3D_PREFETCH(out + rows_out[r] * out_stride);
  Vector<T> sums[kRows][kVectors];
  clear<T>(sums);
  for (int64_t c = 0; c < depth; ++c, panel += kVectors * kWidth<T>) {
    Vector<T> weight[kVectors];
    for (int v = 0; v < kVectors; ++v) weight[v] = load(panel + v * kWidth<T>);
    for (int r = 0; r < kRows; ++r) {
      const Vector<T> x = splat(rows[r][c]);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = multiply_add(x, weight[v], sums[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r) add_sums<T, kWhole>(out + rows_out[r] * out_stride, sums[r], columns);
}

// A convolution with packed weights.
template <class T>
class Convolution {
 public:
  explicit Convolution(const A3dConvolution& q) : q_(q), rules_(q.rules) {}

  int64_t run() {
    if (!ends_are_sound(rules_)) return kBadValue;
    const int64_t lanes = whole_vectors<T>(q_.columns);
    const Memory memory(size_t(rules_.offsets * lanes * q_.depth) * sizeof(T) + 1);
    if (!memory.get()) return kNoMemory;
    packed_ = static_cast<T*>(memory.get());
    a3d::run(rules_.offsets, threads_for(rules_.offsets * lanes * q_.depth * 8),
             [&](int64_t k) -> int64_t { return pack(k), 0; });
    // Few blocks: each is shared out by its columns.
    const int64_t blocks = blocks_of(rules_), panels = (q_.columns + kPanel<T> - 1) / kPanel<T>;
    const int64_t threads = threads_for(pairs_of(rules_) * q_.depth * q_.columns);
    const int64_t shares =
        threads == 1 || blocks >= 4 * threads ? 1 : most<int64_t>(1, least<int64_t>(panels, 4));
    return a3d::run(blocks * shares, threads, [&](int64_t task) -> int64_t {
      const int64_t share = task % shares;
      return convolve(task / shares, share * panels / shares, (share + 1) * panels / shares);
    });
  }

 private:
  int64_t threads_for(int64_t work) const { return worth_threads(work, q_.threads); }

  const T* panel_of(int64_t k, int64_t first) const {
    return packed_ + (k * whole_vectors<T>(q_.columns) + first) * q_.depth;
  }

  // The weights of an offset: panel by panel, of each input channel the columns side by side.
  void pack(int64_t k) {
    const T* const weight = static_cast<const T*>(q_.weight) + k * q_.weight_offset;
    for (int64_t first = 0; first < q_.columns; first += kPanel<T>) {
      const int64_t columns = least<int64_t>(kPanel<T>, q_.columns - first);
      const int64_t lanes = whole_vectors<T>(columns);
      T* const to = const_cast<T*>(panel_of(k, first));
      for (int64_t n = 0; n < lanes; ++n) {
        const T* from = weight + (first + n) * q_.weight_column;
        for (int64_t c = 0; c < q_.depth; ++c)
          to[c * lanes + n] = n < columns ? from[c * q_.weight_depth] : T(0);
      }
    }
  }

  int64_t convolve(int64_t block, int64_t first_panel, int64_t end_panel) {
    if (!block_is_sound(rules_, block)) return kBadValue;
    const int64_t start = block * rules_.block_rows;
    const int64_t rows = least(rules_.block_rows, rules_.outputs - start);
    const int64_t first = first_panel * kPanel<T>, end = least(end_panel * kPanel<T>, q_.columns);
    T* const out = static_cast<T*>(q_.out);
    if (first == end) return 0;
    for (int64_t r = start; r < start + rows; ++r)
      memset(out + r * q_.columns + first, 0, size_t(end - first) * sizeof(T));
    for (int64_t k = 0; k < rules_.offsets; ++k) {
      const int64_t begin = rules_.starts[block * rules_.offsets + k];
      const int64_t pairs = rules_.starts[block * rules_.offsets + k + 1] - begin;
      if (pairs == 0) continue;
      for (int64_t column = first; column < end; column += kPanel<T>) {
        const int64_t columns = least<int64_t>(kPanel<T>, end - column);
        with_panel<T>(columns, [&](auto vectors, auto whole) {
          multiply<decltype(vectors)::value, decltype(whole)::value>(begin, pairs, k, column, columns,
                                                                     column == first);
        });
      }
    }
    finish(start, rows, first, end);
    return 0;
  }

  // The pairs of an offset in a block, by a panel.
  template <int kVectors, bool kWhole>
  A3D_NOINLINE void multiply(int64_t begin, int64_t pairs, int64_t k, int64_t column,
                             int64_t columns, bool ahead) {
    constexpr int64_t kDepth = kPanelBytes / int64_t(kVectors * sizeof(Vector<T>));
    const T* const in = static_cast<const T*>(q_.in);
    T* const out = static_cast<T*>(q_.out) + column;
    const T* const panel = panel_of(k, column);
    const int32_t *rows_in = rules_.rows_in + begin, *rows_out = rules_.rows_out + begin;
    for (int64_t c = 0; c < q_.depth; c += kDepth) {
      const int64_t depth = least(kDepth, q_.depth - c);
      const T* const part = panel + c * kVectors * kWidth<T>;
      int64_t i = 0;
      for (; i + kTileRows <= pairs; i += kTileRows) {
        if (ahead) prefetch_rows(in + c, rows_in, i + kTileRows, pairs, depth);
        multiply_tile<T, kTileRows, kVectors, kWhole>(in + c, q_.depth, rows_in + i, part, depth, out,
                                              q_.columns, rows_out + i, columns);
      }
      with_number<kTileRows - 1>(int(pairs - i), [&](auto rows) {
        multiply_tile<T, decltype(rows)::value, kVectors, kWhole>(in + c, q_.depth, rows_in + i, part, depth,
                                                          out, q_.columns, rows_out + i, columns);
      });
    }
  }

  // The rows of the next tile: only some of them lie near those of this one.
  A3D_INLINE void prefetch_rows(const T* in, const int32_t* rows, int64_t first, int64_t pairs,
                                int64_t depth) const {
    for (int64_t i = first; i < least(first + kTileRows, pairs); ++i)
      prefetch_row(in + rows[i] * q_.depth, depth);
  }

  // What is added to the sums of a block, and its ReLU.
  void finish(int64_t start, int64_t rows, int64_t first, int64_t end) {
    const T* const bias = static_cast<const T*>(q_.bias);
    const T* const residual = static_cast<const T*>(q_.residual);
    if (!bias && !residual && !q_.relu) return;
    for (int64_t r = start; r < start + rows; ++r) {
      T* const A3D_RESTRICT out = static_cast<T*>(q_.out) + r * q_.columns;
      if (bias)
        for (int64_t c = first; c < end; ++c) out[c] += bias[c];
      if (residual)
        for (int64_t c = first; c < end; ++c) out[c] += residual[r * q_.columns + c];
      if (q_.relu)  // NaN stays
        for (int64_t c = first; c < end; ++c) out[c] = out[c] < 0 ? T(0) : out[c];
    }
  }

  const A3dConvolution& q_;
  const A3dRulebook& rules_;
  T* packed_ = nullptr;
};

}  // namespace
}  // namespace a3d
