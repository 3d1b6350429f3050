// The gradient of the weights of a sparse convolution: a sum over all pairs of each offset.
//
// The blocks of the rulebook are shared out to chunks, of which each has its own sum; the chunks are
// added in their order. How many there are depends on the sizes alone: the same bits on any number
// of threads.
#pragma once

#include "convolve.h"

namespace a3d {
namespace {

// to[r][c] += sum over the pairs of grad[r] * in[c], for kRows channels of the gradient and a panel of
// those of the input. `ins` and `grads`: where those of each pair are; the latter plus `first`.
template <class T, int kRows, int kVectors, bool kWhole>
A3D_INLINE void outer_tile(const T* const* ins, const T* const* grads, int64_t first, int64_t pairs,
                           T* to, int64_t stride, int64_t columns) {
  Vector<T> sums[kRows][kVectors];
  clear<T>(sums);
  for (int64_t i = 0; i < pairs; ++i) {
    const T *x = ins[i], *g = grads[i] + first;
    A3D_OPAQUE(g);  // one address for all of its channels
    Vector<T> row[kVectors];
    for (int v = 0; v < kVectors; ++v) row[v] = load(x + v * kWidth<T>);
    for (int r = 0; r < kRows; ++r) {
      const Vector<T> factor = splat(g[r]);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = multiply_add(factor, row[v], sums[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r) add_sums<T, kWhole>(to + r * stride, sums[r], columns);
}

template <class T>
class WeightGradient {
 public:
  explicit WeightGradient(const A3dWeightGradient& q) : q_(q), rules_(q.rules) {}

  int64_t run() {
    constexpr int64_t kMostChunks = 16;
    if (!ends_are_sound(rules_)) return kBadValue;
    const int64_t blocks = blocks_of(rules_), weights = q_.depth * q_.columns * rules_.offsets;
    if (weights == 0) return 0;
    const int64_t numbers = rules_.inputs * q_.depth + rules_.outputs * q_.columns;
    const int64_t chunks =  // their sums take no more memory than half of the rows
        most<int64_t>(1, least(least(kMostChunks, blocks), numbers / (2 * weights + 1)));
    T* const out = static_cast<T*>(q_.out);
    const Memory memory(size_t(chunks > 1 ? chunks * weights : 0) * sizeof(T) + 1);
    if (!memory.get()) return kNoMemory;
    T* const parts = chunks > 1 ? static_cast<T*>(memory.get()) : out;
    const int64_t threads = worth_threads(pairs_of(rules_) * q_.depth * q_.columns, q_.threads);
    const int64_t shares = chunks >= 4 * threads ? 1 : rules_.offsets;  // of a chunk
    const int64_t status = a3d::run(chunks * shares, threads, [&](int64_t task) -> int64_t {
      const int64_t chunk = task / shares, share = task % shares;
      const int64_t first = share * rules_.offsets / shares;
      const int64_t end = (share + 1) * rules_.offsets / shares;
      T* const part = parts + chunk * weights;
      const Memory copy(size_t(copies_grad() ? kList * tiles() * kTileRows : 0) * sizeof(T) + 1);
      if (!copy.get()) return kNoMemory;
      for (int64_t r = 0; r < q_.columns; ++r)
        memset(part + (r * rules_.offsets + first) * q_.depth, 0,
               size_t((end - first) * q_.depth) * sizeof(T));
      for (int64_t b = chunk * blocks / chunks; b < (chunk + 1) * blocks / chunks; ++b) {
        if (!block_is_sound(rules_, b)) return kBadValue;
        for (int64_t k = first; k < end; ++k) 
          add_list(b * rules_.offsets + k, k, part, static_cast<T*>(copy.get()));
      }
      return 0;
    });
    if (status < 0 || chunks == 1) return status;
    constexpr int64_t kRange = 1 << 14;
    const int64_t ranges = (weights + kRange - 1) / kRange;
    return a3d::run(ranges, worth_threads(weights * chunks, q_.threads), [&](int64_t i) -> int64_t {
      for (int64_t w = i * kRange; w < least(weights, (i + 1) * kRange); ++w) {
        T sum = parts[w];
        for (int64_t chunk = 1; chunk < chunks; ++chunk) sum += parts[chunk * weights + w];
        out[w] = sum;
      }
      return 0;
    });
  }

 private:
  static constexpr int64_t kList = 256;  // pairs at once

  int64_t tiles() const { return (q_.columns + kTileRows - 1) / kTileRows; }

  // Rows whose parts are read again and again are copied side by side first, those of a list of pairs
  // at a time: parts of rows that lie as far apart as rows do hardly fit the nearest cache together.
  bool copies_in() const { return tiles() >= 6; }
  bool copies_grad() const { return q_.depth >= 128; }

  // The pairs of an offset in a block. `copy`: room for kList rows of the gradient.
  void add_list(int64_t list, int64_t k, T* part, T* copy) const {
    const int64_t end = rules_.starts[list + 1];
    for (int64_t begin = rules_.starts[list]; begin < end; begin += kList) {
      const int64_t pairs = least(kList, end - begin);
      const T *ins[kList], *grads[kList];
      for (int64_t i = 0; i < pairs; ++i)
        grads[i] = static_cast<const T*>(q_.grad) + rules_.rows_out[begin + i] * q_.columns;
      if (copies_grad()) copy_grads(grads, pairs, copy);
      for (int64_t first = 0; first < q_.depth; first += kPanel<T>) {
        const T* const in = static_cast<const T*>(q_.in) + first;
        for (int64_t i = 0; i < pairs; ++i) ins[i] = in + rules_.rows_in[begin + i] * q_.depth;
        const int64_t width = least<int64_t>(kPanel<T>, q_.depth - first);
        with_panel<T>(width, [&](auto vectors, auto whole) {
          constexpr int kVectors = decltype(vectors)::value;
          constexpr bool kWhole = decltype(whole)::value;
          T rows[kList * kVectors * kWidth<T>];
          if (!kWhole || copies_in())  // vectors would read beyond a row that fills none
            for (int64_t i = 0; i < pairs; ++i) {
              T* const row = rows + i * kVectors * kWidth<T>;
              if constexpr (kWhole) {
                for (int v = 0; v < kVectors; ++v)
                  store(row + v * kWidth<T>, load(ins[i] + v * kWidth<T>));
              } else {
                for (int c = 0; c < kVectors * kWidth<T>; ++c) row[c] = c < width ? ins[i][c] : T(0);
              }
              ins[i] = row;
            }
          add_panel<kVectors, kWhole>(ins, grads, pairs, part + k * q_.depth + first, width);
        });
      }
    }
  }

  // Tile by tile, of each pair its channels of the tile; `grads` then points there.
  A3D_NOINLINE void copy_grads(const T** grads, int64_t pairs, T* copy) const {
    const int64_t count = tiles();
    for (int64_t i = 0; i < pairs; ++i) {
      for (int64_t tile = 0; tile < count; ++tile) {
        const int64_t r = tile * q_.columns / count, end = (tile + 1) * q_.columns / count;
        T* const to = copy + (tile * pairs + i) * kTileRows;
        for (int64_t c = r; c < end; ++c) to[c - r] = grads[i][c];
      }
      grads[i] = copy + i * kTileRows;
    }
  }

  // In tiles of nearly the same height: short ones leave the units of the processor waiting.
  template <int kVectors, bool kWhole>
  A3D_NOINLINE void add_panel(const T* const* ins, const T* const* grads, int64_t pairs, T* to,
                              int64_t width) const {
    const int64_t stride = rules_.offsets * q_.depth, count = tiles();
    for (int64_t tile = 0; tile < count; ++tile) {
      const int64_t r = tile * q_.columns / count, end = (tile + 1) * q_.columns / count;
      const int64_t first = copies_grad() ? tile * pairs * kTileRows : r;
      with_number<kTileRows>(int(end - r), [&](auto rows) {
        outer_tile<T, decltype(rows)::value, kVectors, kWhole>(ins, grads, first, pairs,
                                                               to + r * stride, stride, width);
      });
    }
  }

  const A3dWeightGradient& q_;
  const A3dRulebook& rules_;
};

}  // namespace
}  // namespace a3d
