// Predictions to classes, and classes to histograms and confusion of voxels.
#include "../abi.h"
#include "../cell.h"

namespace {

constexpr int64_t kIgnore = 255;

template <class T>
int64_t narrow(const T* in, int64_t n, int64_t num_classes, uint8_t* out) {
  bool ok = true;
  for (int64_t i = 0; i < n; ++i) {
    const auto label = int64_t(in[i]);
    ok = ok & ((label >= 0 && label < num_classes) || label == kIgnore);
    out[i] = uint8_t(label);
  }
  return ok ? 0 : a3d::kBadValue;
}

// The first of the largest of each row. Several rows at once, so that the compiler can use vectors;
// 0 * x is NaN for NaN and Inf, and stays so in a sum.
template <class T, class Index>
int64_t argmax(const T* in, int64_t n, int64_t num_classes, uint8_t* out) {
  constexpr int kRows = 16;
  T poison[kRows] = {};
  const auto tile = [&](const T* x, int64_t stride, uint8_t* to, int rows) {
    T best[kRows];
    Index arg[kRows];
    for (int r = 0; r < kRows; ++r) {
      best[r] = x[r * stride];
      arg[r] = 0;
      poison[r] += best[r] * 0;
    }
    for (int64_t c = 1; c < num_classes; ++c)
      for (int r = 0; r < kRows; ++r) {
        const T value = x[r * stride + c];
        poison[r] += value * 0;
        arg[r] = value > best[r] ? Index(c) : arg[r];
        best[r] = value > best[r] ? value : best[r];
      }
    for (int r = 0; r < rows; ++r) to[r] = uint8_t(arg[r]);
  };
  int64_t i = 0;
  for (; i + kRows <= n; i += kRows) tile(in + i * num_classes, num_classes, out + i, kRows);
  for (; i < n; ++i) tile(in + i * num_classes, 0, out + i, 1);  // stride 0: the same row 16 times
  bool ok = true;
  for (const T p : poison) ok = ok & (p == 0);
  return ok ? 0 : a3d::kBadValue;
}

}  // namespace

int64_t a3d_labels_u8(const uint8_t* in, int64_t n, int64_t num_classes, uint8_t* out) {
  return narrow(in, n, num_classes, out);
}
int64_t a3d_labels_i32(const int32_t* in, int64_t n, int64_t num_classes, uint8_t* out) {
  return narrow(in, n, num_classes, out);
}
int64_t a3d_labels_i64(const int64_t* in, int64_t n, int64_t num_classes, uint8_t* out) {
  return narrow(in, n, num_classes, out);
}
int64_t a3d_argmax_f32(const float* in, int64_t n, int64_t num_classes, uint8_t* out) {
  return argmax<float, int32_t>(in, n, num_classes, out);
}
int64_t a3d_argmax_f64(const double* in, int64_t n, int64_t num_classes, uint8_t* out) {
  return argmax<double, int64_t>(in, n, num_classes, out);
}

int64_t a3d_histogram(const uint8_t* labels, const int64_t* members, const int64_t* splits,
                      int64_t voxels, int64_t num_classes, int32_t* out) {
  for (int64_t v = 0; v < voxels; ++v)
    for (int64_t m = splits[v]; m < splits[v + 1]; ++m) {
      const uint8_t label = labels[members[m]];
      if (label != kIgnore) ++out[v * num_classes + label];
    }
  return 0;
}

int64_t a3d_confusion(const uint8_t* labels, const int64_t* members, const int64_t* splits,
                      int64_t voxels, const int64_t* table, int64_t* out) {
  int64_t h[256] = {};
  for (int64_t v = 0; v < voxels; ++v) {
    const int64_t start = splits[v], stop = splits[v + 1];
    for (int64_t m = start; m < stop; ++m) ++h[labels[members[m]]];
    const int64_t n = stop - start - h[kIgnore];
    h[kIgnore] = 0;
    int64_t parts = 0;  // every class once: its count is 0 when it comes again, and T[0] = 0
    for (int64_t m = start; m < stop; ++m) {
      int64_t& count = h[labels[members[m]]];
      parts += table[count];
      count = 0;
    }
    out[v] = a3d::entropy(table[n], parts, n);
  }
  return 0;
}
