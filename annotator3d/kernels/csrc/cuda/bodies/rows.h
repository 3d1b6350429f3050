// Rows of a prediction to classes, or to entropy and margin.
#pragma once

#include "../../arith.h"
#include "atomics.h"

namespace a3d {

constexpr uint8_t kIgnore = 255;
constexpr int kLanes = 32;

// What is made of a row of logits: its class, the first of the largest.
struct RowClass {
  uint8_t* out;

  template <class Load>
  A3D_MEMBER void operator()(int64_t i, int classes, Load row) const {
    auto best = row(0);
    int arg = 0;
    for (int c = 1; c < classes; ++c) {
      const auto value = row(c);
      if (value > best) {
        best = value;
        arg = c;
      }
    }
    out[i] = uint8_t(arg);
  }
};

// Entropy and margin; where one is null it is left out.
struct RowScores {
  int64_t *entropy, *margin;

  template <class Load>
  A3D_MEMBER void operator()(int64_t i, int classes, Load row) const {
    int64_t e, m;
    point_scores([&](int c) { return float(row(c)); }, classes, e, m);
    if (entropy) entropy[i] = e;
    if (margin) margin[i] = m;
  }
};

// Rows in tiles of kLanes, one a lane. Lanes first copy the tile to fast memory together, in the
// order of the addresses (adjacent threads that read adjacent rows would use a part of each line);
// once all have, each works on its row. Rows are an odd number of words apart, so that lanes meet
// in no bank.
template <class T, class Make>
struct TiledRows {
  const T* logits;
  int64_t rows;
  int classes;
  Make make;
  Flag flag;

  A3D_MEMBER int64_t tiles() const { return (rows + kLanes - 1) / kLanes; }
  A3D_MEMBER int64_t tile_bytes() const { return int64_t(sizeof(T)) * kLanes * (classes | 1); }

  A3D_MEMBER void load(int64_t tile, int lane, T* copy) const {
    const T* in = logits + tile * kLanes * classes;
    const int64_t left = rows - tile * kLanes;
    const int count = int(left < kLanes ? left : kLanes) * classes;
    const int row_step = kLanes / classes, column_step = kLanes % classes;
    int row = lane / classes, column = lane % classes;
    bool ok = true;
    for (int i = lane; i < count; i += kLanes) {
      const T value = in[i];
      ok = ok & (value - value == 0);  // not so for NaN and Inf
      copy[row * (classes | 1) + column] = value;
      row += row_step;
      column += column_step;
      if (column >= classes) {
        column -= classes;
        ++row;
      }
    }
    if (!ok) flag.raise();
  }

  A3D_MEMBER void work(int64_t tile, int lane, const T* copy) const {
    const int64_t i = tile * kLanes + lane;
    const T* row = copy + lane * (classes | 1);
    if (i < rows) make(i, classes, [&](int c) { return row[c]; });
  }
};

// The same for rows too long for that.
template <class T, class Make>
struct PlainRows {
  const T* logits;
  int64_t rows;
  int classes;
  Make make;
  Flag flag;

  A3D_MEMBER int64_t size() const { return rows; }
  A3D_MEMBER void operator()(int64_t i) const {
    const T* row = logits + i * classes;
    bool ok = true;
    for (int c = 0; c < classes; ++c) ok = ok & (row[c] - row[c] == 0);
    if (!ok) flag.raise();
    make(i, classes, [&](int c) { return row[c]; });
  }
};

// Labels to uint8; one that is neither a class nor ignored raises the flag.
template <class T>
struct LabelRows {
  const T* labels;
  int64_t rows;
  int classes;
  uint8_t* out;
  Flag flag;

  A3D_MEMBER int64_t size() const { return rows; }
  A3D_MEMBER void operator()(int64_t i) const {
    const auto label = int64_t(labels[i]);
    const bool known = label >= 0 && label < classes;
    if (!known && label != kIgnore) flag.raise();
    out[i] = known ? uint8_t(label) : kIgnore;
  }
};

// Nothing to do beside another body.
struct Nothing {
  A3D_MEMBER int64_t size() const { return 0; }
  A3D_MEMBER void operator()(int64_t) const {}
};

}  // namespace a3d
