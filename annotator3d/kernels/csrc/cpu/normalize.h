// Batch norm of rows with the statistics of the batch, what is added to it and its ReLU, each pass over
// the rows doing all that it can.
//
// Sums over the rows are made of the sums of fixed numbers of rows, which are added in float64 in
// their order: the same bits on any number of threads and in every variant.
#pragma once

#include <cmath>

#include "rulebook.h"
#include "tasks.h"
#include "vectors.h"

namespace a3d {
namespace {

constexpr int64_t kRowsOfSum = 256;  // of a part

template <class T>
class BatchNorm {
 public:
  explicit BatchNorm(const A3dBatchNorm& q)
      : q_(q), parts_((q.rows + kRowsOfSum - 1) / kRowsOfSum),
        threads_(worth_threads(q.rows * q.channels * 8, q.threads)) {}

  // out, mean and variance (the biased one).
  int64_t forward() {
    const int64_t n = q_.channels;
    const Memory memory(size_t(2 * (parts_ + 1) * n) * sizeof(double) + 1);
    if (!memory.get()) return kNoMemory;
    // Of each part the sums and, about its own mean, the sums of squares.
    double* const sums = static_cast<double*>(memory.get());
    double* const squares = sums + parts_ * n;
    T* const factor = reinterpret_cast<T*>(squares + parts_ * n);
    T* const added = factor + n;
    each_part([&](int64_t part, int64_t first, int64_t rows) {
      sum_rows(at(q_.in, first), rows, sums + part * n, squares + part * n);
    });
    for (int64_t c = 0; c < n; ++c) {
      double mean = 0, square = 0;
      for (int64_t part = 0; part < parts_; ++part) mean += sums[part * n + c];
      mean /= double(q_.rows);
      for (int64_t part = 0; part < parts_; ++part) {
        const double rows = double(least(kRowsOfSum, q_.rows - part * kRowsOfSum));
        const double away = sums[part * n + c] / rows - mean;
        square += squares[part * n + c] + rows * away * away;
      }
      const double variance = square / double(q_.rows);
      static_cast<T*>(q_.mean)[c] = T(mean);
      static_cast<T*>(q_.variance)[c] = T(variance);
      const double scale = double(weight(c)) / std::sqrt(variance + q_.epsilon);
      factor[c] = T(scale);
      added[c] = T(double(static_cast<const T*>(q_.bias)[c]) - mean * scale);
    }
    each_part([&](int64_t, int64_t first, int64_t rows) { normalize(first, rows, factor, added); });
    return 0;
  }

  // The gradients of in, of weight and bias and, with a ReLU, of what was added (masked_gradient).
  int64_t backward() {
    const int64_t n = q_.channels;
    const Memory memory(size_t(2 * (parts_ + 2) * n) * sizeof(double) + 1);
    if (!memory.get()) return kNoMemory;
    double* const sums = static_cast<double*>(memory.get());
    double* const products = sums + parts_ * n;
    T* const scale = reinterpret_cast<T*>(products + parts_ * n);
    T *const slope = scale + n, *const shift = slope + n;
    each_part([&](int64_t part, int64_t first, int64_t rows) {
      sum_gradient(first, rows, sums + part * n, products + part * n);
    });
    for (int64_t c = 0; c < n; ++c) {
      double sum = 0, product = 0;
      for (int64_t part = 0; part < parts_; ++part) {
        sum += sums[part * n + c];
        product += products[part * n + c];
      }
      const double mean = double(static_cast<const T*>(q_.mean)[c]);
      const double inverse = 1 / std::sqrt(double(static_cast<const T*>(q_.variance)[c]) + q_.epsilon);
      static_cast<T*>(q_.weight_gradient)[c] = T(product * inverse);
      static_cast<T*>(q_.bias_gradient)[c] = T(sum);
      // factor * (g - sum / N - (x - mean) * inverse^2 * product / N)
      const double factor = double(weight(c)) * inverse;
      const double along = factor * inverse * inverse * product / double(q_.rows);
      scale[c] = T(factor);
      slope[c] = T(-along);
      shift[c] = T(mean * along - factor * sum / double(q_.rows));
    }
    each_part([&](int64_t, int64_t first, int64_t rows) {
      write_gradient(first, rows, scale, slope, shift);
    });
    return 0;
  }

 private:
  T weight(int64_t c) const { return static_cast<const T*>(q_.weight)[c]; }
  const T* at(const void* rows, int64_t first) const {
    return static_cast<const T*>(rows) + first * q_.channels;
  }
  T* at(void* rows, int64_t first) const { return static_cast<T*>(rows) + first * q_.channels; }

  template <class Work>
  void each_part(const Work& work) const {
    run(parts_, threads_, [&](int64_t part) -> int64_t {
      const int64_t first = part * kRowsOfSum;
      work(part, first, least(kRowsOfSum, q_.rows - first));
      return 0;
    });
  }

  // A lane is what is worked on at once: a vector, or one number where a vector is too wide.
  template <class Lane>
  static constexpr int64_t lane_width = int64_t(sizeof(Lane) / sizeof(T));

  template <class Lane>
  A3D_INLINE static Lane lane_of(const T* from, int v) {
    Lane x;
    memcpy(&x, from + v * lane_width<Lane>, sizeof x);
    return x;
  }

  // body(a lane, Number<lanes>, channel): the channels in panels that registers hold.
  template <class Body>
  A3D_INLINE void each_panel(const Body& body) const {
    constexpr int64_t kMost = 4;
    int64_t c = 0;
    for (int64_t left; (left = (q_.channels - c) / kWidth<T>) > 0;) {
      const int vectors = int(least(left, kMost));
      with_number<kMost>(vectors, [&](auto number) { body(Vector<T>(), number, c); });
      c += vectors * kWidth<T>;
    }
    for (; c < q_.channels; ++c) body(T(), Number<1>(), c);
  }

  template <class Lane, int kLanes>
  A3D_INLINE static void read(Lane (&to)[kLanes], const T* from) {
    memcpy(to, from, sizeof to);
  }

  // sums[v] += term(row, v) over the rows, four of them at a time.
  template <class Lane, int kLanes, class Term>
  A3D_INLINE static void add_rows(int64_t rows, Lane (&sums)[kLanes], const Term& term) {
    for (int v = 0; v < kLanes; ++v) sums[v] = Lane();
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4)
      for (int v = 0; v < kLanes; ++v)
        sums[v] += (term(r, v) + term(r + 1, v)) + (term(r + 2, v) + term(r + 3, v));
    for (; r < rows; ++r)
      for (int v = 0; v < kLanes; ++v) sums[v] += term(r, v);
  }

  template <class Lane, int kLanes>
  A3D_INLINE static void widen(const Lane (&sums)[kLanes], double* to) {
    T each[kLanes * lane_width<Lane>];
    memcpy(each, sums, sizeof sums);
    for (const T sum : each) *to++ = double(sum);
  }

  void sum_rows(const T* in, int64_t rows, double* sums, double* squares) const {
    const int64_t n = q_.channels;
    each_panel([&](auto lane, auto lanes, int64_t c) {
      using Lane = decltype(lane);
      constexpr int kLanes = decltype(lanes)::value;
      const auto x = [&](int64_t r, int v) { return lane_of<Lane>(in + r * n + c, v); };
      Lane sum[kLanes], square[kLanes], mean[kLanes];
      add_rows(rows, sum, x);
      for (int v = 0; v < kLanes; ++v) mean[v] = sum[v] / T(rows);
      add_rows(rows, square, [&](int64_t r, int v) {
        const Lane away = x(r, v) - mean[v];
        return away * away;
      });
      widen(sum, sums + c);
      widen(square, squares + c);
    });
  }

  // The gradient before the ReLU is that after it, or 0 where it gave 0.
  void sum_gradient(int64_t start, int64_t rows, double* sums, double* products) const {
    const int64_t n = q_.channels;
    const T *const in = at(q_.in, start), *const out = at(q_.out, start);
    const T* const gradient = at(q_.gradient, start);
    each_panel([&](auto lane, auto lanes, int64_t c) {
      using Lane = decltype(lane);
      constexpr int kLanes = decltype(lanes)::value;
      Lane sum[kLanes], product[kLanes], mean[kLanes];
      read(mean, static_cast<const T*>(q_.mean) + c);
      const auto add = [&](const auto& before) {
        add_rows(rows, sum, before);
        add_rows(rows, product, [&](int64_t r, int v) {
          return before(r, v) * (lane_of<Lane>(in + r * n + c, v) - mean[v]);
        });
      };
      const auto after = [&](int64_t r, int v) { return lane_of<Lane>(gradient + r * n + c, v); };
      if (q_.relu)
        add([&](int64_t r, int v) {
          return lane_of<Lane>(out + r * n + c, v) <= 0 ? Lane() : after(r, v);
        });
      else
        add(after);
      widen(sum, sums + c);
      widen(product, products + c);
    });
  }

  void normalize(int64_t start, int64_t rows, const T* factors, const T* addends) const {
    const int64_t n = q_.channels;
    const T *const in = at(q_.in, start), *const residual = at(q_.residual, q_.residual ? start : 0);
    T* const out = at(q_.out, start);
    each_panel([&](auto lane, auto lanes, int64_t c) {
      using Lane = decltype(lane);
      constexpr int kLanes = decltype(lanes)::value;
      Lane factor[kLanes], addend[kLanes];
      read(factor, factors + c);
      read(addend, addends + c);
      for (int64_t r = 0; r < rows; ++r)
        for (int v = 0; v < kLanes; ++v) {
          Lane x = lane_of<Lane>(in + r * n + c, v) * factor[v] + addend[v];
          if (q_.residual) x += lane_of<Lane>(residual + r * n + c, v);
          if (q_.relu) x = x < 0 ? Lane() : x;  // NaN stays
          memcpy(out + r * n + c + v * lane_width<Lane>, &x, sizeof x);
        }
    });
  }

  void write_gradient(int64_t start, int64_t rows, const T* scales, const T* slopes,
                      const T* shifts) const {
    const int64_t n = q_.channels;
    const T *const in = at(q_.in, start), *const out = at(q_.out, start);
    const T* const gradient = at(q_.gradient, start);
    T *const masked = at(q_.masked_gradient, q_.relu ? start : 0), *to = at(q_.in_gradient, start);
    each_panel([&](auto lane, auto lanes, int64_t c) {
      using Lane = decltype(lane);
      constexpr int kLanes = decltype(lanes)::value;
      Lane scale[kLanes], slope[kLanes], shift[kLanes];
      read(scale, scales + c);
      read(slope, slopes + c);
      read(shift, shifts + c);
      for (int64_t r = 0; r < rows; ++r)
        for (int v = 0; v < kLanes; ++v) {
          const int64_t place = r * n + c + v * lane_width<Lane>;
          Lane g = lane_of<Lane>(gradient + place, 0);
          if (q_.relu) {
            g = lane_of<Lane>(out + place, 0) <= 0 ? Lane() : g;
            memcpy(masked + place, &g, sizeof g);
          }
          const Lane x = lane_of<Lane>(in + place, 0) * slope[v] + g * scale[v] + shift[v];
          memcpy(to + place, &x, sizeof x);
        }
    });
  }

  const A3dBatchNorm& q_;
  const int64_t parts_, threads_;
};

}  // namespace
}  // namespace a3d
