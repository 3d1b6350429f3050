// The best k candidates met so far.
#pragma once

#include "../arith.h"
#include "basics.h"

namespace a3d {
namespace {

struct Candidate {
  int64_t score;
  uint64_t hash;   // of the tie-break
  int64_t number;  // of the voxel: they are numbered in the order of their first point
};

inline bool before(const Candidate& a, const Candidate& b) {
  return a3d::before(a.score, a.hash, a.number, b.score, b.hash, b.number);
}

class Best {
 public:
  Best(int64_t k, Arena& arena) : heap_(arena.take<Candidate>(k)), k_(k) {}

  void start() { size_ = 0; }

  // No candidate with a lower score can be among the best any more.
  int64_t threshold() const {
    if (k_ == 0) return INT64_MAX;
    return size_ < k_ ? INT64_MIN : heap_[0].score;
  }

  void offer(const Candidate& candidate) {
    if (size_ < k_) {
      int64_t i = size_++;  // sift up: the worst is at the top
      for (; i > 0 && before(heap_[(i - 1) / 2], candidate); i = (i - 1) / 2)
        heap_[i] = heap_[(i - 1) / 2];
      heap_[i] = candidate;
    } else if (k_ > 0 && before(candidate, heap_[0])) {
      sift_down(candidate, size_);
    }
  }

  // Puts them into their order, the best one first; returns how many there are. Ends the offers.
  int64_t sort() {
    for (int64_t left = size_ - 1; left > 0; --left) {
      const Candidate last = heap_[left];
      heap_[left] = heap_[0];
      sift_down(last, left);
    }
    return size_;
  }

  const Candidate& operator[](int64_t i) const { return heap_[i]; }

 private:
  // Puts a candidate in the place of the top of a heap of some length.
  void sift_down(const Candidate& candidate, int64_t length) {
    int64_t i = 0;
    for (int64_t child = 1; child < length; child = 2 * i + 1) {
      if (child + 1 < length && before(heap_[child], heap_[child + 1])) ++child;
      if (!before(candidate, heap_[child])) break;
      heap_[i] = heap_[child];
      i = child;
    }
    heap_[i] = candidate;
  }

  Candidate* heap_;
  int64_t k_, size_ = 0;
};

}  // namespace
}  // namespace a3d
