// The Lovasz-softmax loss and its gradient, class by class: see reference.lovasz_softmax.
#include <cstring>
#include <utility>
#include <vector>

#include "../abi.h"
#include "guard.h"

namespace {

struct Error {
  uint32_t key;  // the larger the error, the smaller
  uint32_t row;
};

constexpr int kBits = 10, kPasses = 3;  // the bits of a float in 0..1 are 30
constexpr uint32_t kOne = 0x3F800000;   // those of 1.0f
constexpr size_t kBuckets = size_t(1) << kBits;

// Stable, by key.
void sort(std::vector<Error>& errors, std::vector<Error>& spare) {
  std::vector<size_t> starts(kPasses * kBuckets);
  for (const Error& e : errors)
    for (int pass = 0; pass < kPasses; ++pass)
      ++starts[size_t(pass) * kBuckets + ((e.key >> (kBits * pass)) & (kBuckets - 1))];
  for (int pass = 0; pass < kPasses; ++pass) {
    size_t* const start = starts.data() + size_t(pass) * kBuckets;
    size_t total = 0;
    for (size_t b = 0; b < kBuckets; ++b) total += std::exchange(start[b], total);
    for (const Error& e : errors) spare[start[(e.key >> (kBits * pass)) & (kBuckets - 1)]++] = e;
    errors.swap(spare);
  }
}

// The loss of a class that occurs `total` times; its gradient, times `share`, into a column.
double class_loss(const float* column, const int64_t* target, int64_t rows, int64_t classes,
                  int64_t c, int64_t total, double share, float* gradient) {
  std::vector<Error> errors(static_cast<size_t>(rows)), spare(errors.size());
  for (int64_t r = 0; r < rows; ++r) {
    const float p = column[r * classes], error = target[r] == c ? 1 - p : p;
    uint32_t bits;
    memcpy(&bits, &error, sizeof bits);
    errors[size_t(r)] = {kOne - (bits & 0x7FFFFFFF), uint32_t(r)};
  }
  sort(errors, spare);
  double loss = 0, before = 0;
  int64_t hits = 0;
  for (int64_t n = 1; n <= rows; ++n) {
    const Error& e = errors[size_t(n - 1)];
    const bool own = target[e.row] == c;
    hits += own;
    const double jaccard = 1 - double(total - hits) / double(total + n - hits);
    const uint32_t bits = kOne - e.key;
    float error;
    memcpy(&error, &bits, sizeof error);
    loss += error * (jaccard - before);
    const double slope = (jaccard - before) * share;
    gradient[e.row * classes] = error == 0 ? 0.0f : float(own ? -slope : slope);
    before = jaccard;
  }
  return loss;
}

}  // namespace

int64_t a3d_lovasz(const float* probabilities, const int64_t* target, int64_t rows,
                   int64_t classes, int64_t threads, float* loss, float* gradient) {
  return a3d::guarded([&]() -> int64_t {
    std::vector<int64_t> counts(static_cast<size_t>(classes));
    int bad = 0;
    for (int64_t i = 0; i < rows * classes; ++i)
      bad |= !(probabilities[i] >= 0 && probabilities[i] <= 1);
    if (bad) return a3d::kBadValue;
    for (int64_t r = 0; r < rows; ++r) {
      if (target[r] < 0 || target[r] >= classes) return a3d::kBadValue;
      ++counts[size_t(target[r])];
    }
    int64_t present = 0;
    for (const int64_t count : counts) present += count > 0;
    std::vector<double> losses(counts.size());
    const auto task = [&](int64_t c) -> int64_t {
      if (counts[size_t(c)])
        losses[size_t(c)] = class_loss(probabilities + c, target, rows, classes, c,
                                       counts[size_t(c)], 1 / double(present), gradient + c);
      else
        for (int64_t r = 0; r < rows; ++r) gradient[r * classes + c] = 0;
      return 0;
    };
    const int64_t status = a3d::guarded_run(classes, threads, task);
    double sum = 0;
    for (const double one : losses) sum += one;
    *loss = present ? float(sum / double(present)) : 0.0f;
    return status;
  });
}
