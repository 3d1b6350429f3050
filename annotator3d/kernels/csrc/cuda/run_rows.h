// Launches that make classes or scores of the rows of a prediction.
#pragma once

#include "bodies/scores.h"
#include "launch.h"

namespace a3d {

// Hands `then` the body for these logits, and the most that it is run for.
template <class T, class Make, class Then>
void with_logits(const A3dPrediction& p, Make make, Flag flag, Then then) {
  const auto* logits = static_cast<const T*>(p.data);
  const TiledRows<T, Make> tiled{logits, p.rows, int(p.classes), make, flag};
  if (tiled.tile_bytes() <= kTileBytes)
    then(tiled, p.rows);
  else
    then(PlainRows<T, Make>{logits, p.rows, int(p.classes), make, flag}, p.rows);
}

template <class T, class Then>
void with_labels(const A3dPrediction& p, uint8_t* out, Flag flag, Then then) {
  then(LabelRows<T>{static_cast<const T*>(p.data), p.rows, int(p.classes), out, flag}, p.rows);
}

// The same for the body that makes classes [rows] of any prediction.
template <class Then>
void with_classes(const A3dPrediction& p, uint8_t* out, Flag flag, Then then) {
  switch (p.kind) {
    case A3D_LOGITS_F32: return with_logits<float>(p, RowClass{out}, flag, then);
    case A3D_LOGITS_F64: return with_logits<double>(p, RowClass{out}, flag, then);
    case A3D_LABELS_U8: return with_labels<uint8_t>(p, out, flag, then);
    case A3D_LABELS_I32: return with_labels<int32_t>(p, out, flag, then);
    default: return with_labels<int64_t>(p, out, flag, then);
  }
}

template <class Launcher>
int64_t histogram(const A3dPrediction& labels, const int64_t* point_to_voxel, int64_t voxels,
                  int32_t* out, int64_t* status, const A3dRun& run) {
  Workspace space(run);
  const Flag flag{space.take<int32_t>(1)};
  auto* classes_of = space.take<uint8_t>(labels.rows);
  return launched<Launcher>(run, space.used(), [&](Launcher& launch) {
    auto* counts = reinterpret_cast<uint32_t*>(out);
    launch.fill(flag.at, 0xFF, sizeof(int32_t));
    launch.fill(counts, 0, voxels * labels.classes * int64_t(sizeof(int32_t)));
    with_classes(labels, classes_of, flag, [&](auto body, int64_t n) { launch.each(body, n); });
    launch.each(CountClasses{classes_of, point_to_voxel, labels.rows, int(labels.classes), counts},
                labels.rows);
    launch.each(Report{flag, status}, 1);
  });
}

template <class Launcher>
int64_t confusion(const A3dPrediction& prediction, const int64_t* point_to_voxel, int64_t voxels,
                  const ScoreTable& table, int64_t* out, int64_t* status, const A3dRun& run) {
  Workspace space(run);
  const Flag flag{space.take<int32_t>(1)};
  auto* classes_of = space.take<uint8_t>(prediction.rows);
  const int64_t cells = voxels * prediction.classes;
  auto* counts = space.take<uint32_t>(cells);
  const int classes = int(prediction.classes);
  return launched<Launcher>(run, space.used(), [&](Launcher& launch) {
    launch.fill(flag.at, 0xFF, sizeof(int32_t));
    launch.fill(counts, 0, cells * int64_t(sizeof(uint32_t)));
    with_classes(prediction, classes_of, flag,
                 [&](auto body, int64_t n) { launch.each(body, n); });
    launch.each(CountClasses{classes_of, point_to_voxel, prediction.rows, classes, counts},
                prediction.rows);
    launch.each(ScoreVoxels{counts, voxels, classes, table, flag, out}, voxels);
    launch.each(Report{flag, status}, 1);
  });
}

template <class Launcher>
int64_t point_scores(const A3dPrediction& logits, int64_t* entropy, int64_t* margin,
                     int64_t* status, const A3dRun& run) {
  Workspace space(run);
  const Flag flag{space.take<int32_t>(1)};
  return launched<Launcher>(run, space.used(), [&](Launcher& launch) {
    launch.fill(flag.at, 0xFF, sizeof(int32_t));
    with_logits<float>(logits, RowScores{entropy, margin}, flag,
                       [&](auto body, int64_t n) { launch.each(body, n); });
    launch.each(Report{flag, status}, 1);
  });
}

}  // namespace a3d
