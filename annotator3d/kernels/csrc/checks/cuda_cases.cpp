// A program that runs test cases from files through the CUDA library's code on 1, 2 and 4 host
// threads, and compares with the answers in the files. To be built with sanitizers:
// tools/check_kernels.sh.
#include "../cuda/abi.h"
#include "case_file.h"

namespace {

using a3d::CaseFile;
using Longs = std::vector<int64_t>;

// Calls an operation with the workspace that it asks for, to the byte.
class Caller {
 public:
  Caller(const CaseFile& file, int64_t threads)
      : file_(file), run_{nullptr, 0, 0, reinterpret_cast<void*>(intptr_t(threads))} {}

  template <class Operation, class... Arguments>
  void operator()(Operation operation, Arguments... arguments) {
    A3dRun run = run_;
    const int64_t bytes = checked(operation(arguments..., &run));
    workspace_ = std::vector<char>(size_t(bytes) + 1, '\xA5');  // nothing may rely on zeros
    again(operation, arguments...);
  }
  // In the same workspace.
  template <class Operation, class... Arguments>
  void again(Operation operation, Arguments... arguments) {
    A3dRun run = run_;
    run.workspace = workspace_.data();
    run.bytes = int64_t(workspace_.size());
    checked(operation(arguments..., &run));
  }
  // Whether the values were taken, which the file knows.
  bool taken(int64_t bad) const {
    if (bad != file_.number("bad")) file_.fail("the wrong values are refused");
    return !bad;
  }

 private:
  int64_t checked(int64_t code) const {
    if (code < 0) file_.fail(a3d_cuda_error(code));
    return code;
  }

  const CaseFile& file_;
  A3dRun run_;
  std::vector<char> workspace_;
};

A3dBatch batch_of(const CaseFile& f, const std::string& prefix) {
  A3dBatch batch{};
  batch.splits = f.at<int64_t>(prefix + "splits");
  batch.scans = f.length<int64_t>(prefix + "splits") - 1;
  batch.rows = batch.splits[batch.scans];
  if (f.has(prefix + "cells")) {
    batch.cells = f.at<int32_t>(prefix + "cells");
  } else {
    batch.points = f.at<float>(prefix + "points");
    batch.stride = f.number(prefix + "stride");
  }
  return batch;
}

A3dPrediction prediction_of(const CaseFile& f) {
  return {f.at<char>("prediction"), f.number("kind"), f.number("rows"), f.number("classes")};
}

void group(const CaseFile& f, Caller& call) {
  const A3dBatch batch = batch_of(f, "");
  const size_t n = size_t(batch.rows);
  Longs sizes(3);
  call(a3d_cuda_group_begin, &batch, f.real("size"), sizes.data());
  if (!call.taken(sizes[2])) return;
  const auto voxels = size_t(sizes[0]);
  std::vector<int32_t> cells(voxels * 3);
  Longs scan(voxels), point_to_voxel(n), members(n), splits(voxels + 1);
  Longs scan_splits(size_t(batch.scans) + 1);
  call.again(a3d_cuda_group_finish, &batch, f.real("size"), sizes[0], sizes[1], cells.data(),
             scan.data(), point_to_voxel.data(), members.data(), splits.data(),
             scan_splits.data());
  f.expect("=cells", cells);
  f.expect("=scan", scan);
  f.expect("=point_to_voxel", point_to_voxel);
  f.expect("=members", members);
  f.expect("=splits", splits);
  f.expect("=scan_splits", scan_splits);
}

void histogram(const CaseFile& f, Caller& call) {
  const A3dPrediction labels = prediction_of(f);
  const int64_t voxels = f.number("voxels");
  std::vector<int32_t> out(size_t(voxels * labels.classes));
  Longs status(1);
  call(a3d_cuda_histogram, &labels, f.at<int64_t>("point_to_voxel"), voxels, out.data(),
       status.data());
  if (call.taken(status[0])) f.expect("=out", out);
}

void confusion(const CaseFile& f, Caller& call) {
  const A3dPrediction prediction = prediction_of(f);
  const int64_t voxels = f.number("voxels");
  Longs out(size_t(voxels), 0), status(1);
  call(a3d_cuda_confusion, &prediction, f.at<int64_t>("point_to_voxel"), voxels,
       f.at<int64_t>("table"), f.length<int64_t>("table"), out.data(), status.data());
  if (call.taken(status[0])) f.expect("=out", out);
}

void point_scores(const CaseFile& f, Caller& call) {
  const A3dPrediction logits = prediction_of(f);
  Longs entropy(size_t(logits.rows)), margin(entropy.size()), status(1);
  call(a3d_cuda_point_scores, &logits, entropy.data(), margin.data(), status.data());
  if (!call.taken(status[0])) return;
  f.expect_near("=entropy", entropy);
  f.expect_near("=margin", margin);
}

void select(const CaseFile& f, Caller& call) {
  A3dSelect in{};
  in.batch = batch_of(f, "");
  in.size = f.real("size");
  in.prediction = prediction_of(f);
  in.row_of_point = f.at<int64_t>("row_of_point");
  in.score = f.number("score");
  in.mean = f.number("mean");
  in.table = f.at<int64_t>("table");
  in.table_length = f.length<int64_t>("table");
  in.asked = batch_of(f, "asked_");
  in.seeds = f.at<int64_t>("seeds");
  in.k = f.number("k");
  in.min_points = f.number("min_points");
  in.max_range = f.real("max_range");
  const auto picks = size_t(in.batch.scans * in.k), n = size_t(in.batch.rows);
  std::vector<int32_t> cells(picks * 3), pick_of_point(n);
  Longs scores(picks), counts(picks), per_point(n), status(1);
  in.cells = cells.data();
  in.scores = scores.data();
  in.counts = counts.data();
  in.pick_of_point = pick_of_point.data();
  in.point_scores = per_point.data();
  in.status = status.data();
  call(a3d_cuda_select, &in);
  if (!call.taken(status[0])) return;
  f.expect("=cells", cells);
  f.expect("=scores", scores);
  f.expect("=counts", counts);
  f.expect("=pick_of_point", pick_of_point);
  f.expect("=point_scores", per_point);
}

void interpolation(const CaseFile& f, Caller& call) {
  const A3dBatch points = batch_of(f, "point_"), cells = batch_of(f, "");
  Longs index(size_t(points.rows) * 8), status(1);
  std::vector<float> weight(index.size());
  call(a3d_cuda_interpolation, &points, &cells, f.number("stride"), index.data(), weight.data(),
       status.data());
  if (!call.taken(status[0])) return;
  f.expect("=index", index);
  f.expect("=weight", weight);
}

template <class T>
void devoxelize(const CaseFile& f, Caller& call) {
  const int64_t voxels = f.number("voxels"), columns = f.number("columns");
  const int64_t rows = f.number("rows"), neighbours = f.number("neighbours");
  const int64_t wide = sizeof(T) == sizeof(double);
  const auto* index = f.at<int64_t>("index");
  const auto* weight = f.at<T>("weight");
  std::vector<T> out(size_t(rows * columns)), back(size_t(voxels * columns));
  Longs status(1);
  call(a3d_cuda_devoxelize, f.at<T>("features"), wide, voxels, columns, index, weight, rows,
       neighbours, out.data(), status.data());
  if (!call.taken(status[0])) return;
  f.expect("=out", out);
  call(a3d_cuda_devoxelize_backward, f.at<T>("grad"), wide, voxels, columns, index, weight, rows,
       neighbours, back.data());
  f.expect("=back", back);
}

template <class T>
void voxel_mean(const CaseFile& f, Caller& call) {
  const int64_t voxels = f.length<int64_t>("splits") - 1, columns = f.number("columns");
  std::vector<T> out(size_t(voxels * columns));
  call(a3d_cuda_voxel_mean, f.at<T>("features"), sizeof(T) == sizeof(double),
       f.at<int64_t>("members"), f.at<int64_t>("splits"), voxels, columns, out.data());
  f.expect("=out", out);
}

void run(const CaseFile& f, int64_t threads) {
  Caller call(f, threads);
  const std::string name = f.text("operation");
  if (name == "group") return group(f, call);
  if (name == "histogram") return histogram(f, call);
  if (name == "confusion") return confusion(f, call);
  if (name == "point_scores") return point_scores(f, call);
  if (name == "select") return select(f, call);
  if (name == "interpolation") return interpolation(f, call);
  const bool wide = f.number("wide");
  if (name == "devoxelize") return wide ? devoxelize<double>(f, call) : devoxelize<float>(f, call);
  if (name == "voxel_mean") return wide ? voxel_mean<double>(f, call) : voxel_mean<float>(f, call);
  f.fail("unknown operation " + name);
}

}  // namespace

int main(int count, char** paths) {
  for (int i = 1; i < count; ++i)
    for (const int64_t threads : {1, 2, 4}) run(CaseFile(paths[i]), threads);
  printf("%d cases agree with the reference: CUDA code on 1, 2 and 4 threads\n", count - 1);
  return count > 1 ? 0 : 1;
}
