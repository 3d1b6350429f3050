// A program that runs test cases from files through the CPU library: each variant that this machine
// runs, scans on 1, 2 and 4 threads, also from two callers at once, and compares with the answers in
// the files. To be built with sanitizers: tools/check_kernels.sh.
#include <cmath>
#include <thread>

#include "../abi.h"
#include "case_file.h"

namespace {

using a3d::CaseFile;
using Longs = std::vector<int64_t>;
using Bytes = std::vector<uint8_t>;

// Whether the values were taken, which the file knows.
bool taken(const CaseFile& f, int64_t code) {
  if (code == a3d::kNoMemory) f.fail("not enough memory");
  if ((code == a3d::kBadValue) != (f.number("bad") != 0)) f.fail("the wrong values are refused");
  return code >= 0;
}

void group(const CaseFile& f, int64_t threads) {
  const auto* splits = f.at<int64_t>("splits");
  const int64_t scans = f.length<int64_t>("splits") - 1;
  A3dGroup* group = nullptr;
  const int64_t found =
      f.has("cells")
          ? a3d_group_cells(f.at<int32_t>("cells"), splits, scans, threads, &group)
          : a3d_group_points(f.at<float>("points"), f.number("stride"), float(f.real("size")),
                             splits, scans, threads, &group);
  if (!taken(f, found)) return;
  const auto voxels = size_t(found), n = size_t(splits[scans]);
  std::vector<int32_t> cells(voxels * 3);
  Longs scan(voxels), point_to_voxel(n), members(n), bounds(voxels + 1);
  Longs scan_splits(size_t(scans) + 1);
  const A3dGroupOut out{cells.data(),   scan.data(),   point_to_voxel.data(),
                        members.data(), bounds.data(), scan_splits.data()};
  a3d_group_write(group, &out, threads);
  a3d_group_free(group);
  f.expect("=cells", cells);
  f.expect("=scan", scan);
  f.expect("=point_to_voxel", point_to_voxel);
  f.expect("=members", members);
  f.expect("=splits", bounds);
  f.expect("=scan_splits", scan_splits);
}

// Classes of the prediction, if they are taken.
bool classes_of(const CaseFile& f, Bytes& classes) {
  classes.resize(size_t(f.number("rows")));
  return taken(f, a3d_classes(f.at<char>("prediction"), f.number("kind"), f.number("rows"),
                              f.number("classes"), classes.data()));
}

void histogram(const CaseFile& f) {
  const int64_t voxels = f.number("voxels"), classes = f.number("classes");
  Bytes labels;
  if (!classes_of(f, labels)) return;
  std::vector<int32_t> out(size_t(voxels * classes));
  a3d_histogram(labels.data(), f.at<int64_t>("members"), f.at<int64_t>("splits"), voxels, classes,
                out.data());
  f.expect("=out", out);
}

void confusion(const CaseFile& f) {
  const int64_t voxels = f.number("voxels");
  Bytes labels;
  if (!classes_of(f, labels)) return;
  Longs out(size_t(voxels), 0);
  a3d_confusion(labels.data(), f.at<int64_t>("members"), f.at<int64_t>("splits"), voxels,
                f.at<int64_t>("table"), out.data());
  f.expect("=out", out);
}

void point_scores(const CaseFile& f) {
  const int64_t rows = f.number("rows");
  Longs entropy(size_t(rows), 0), margin(entropy.size());
  if (!taken(f, a3d_point_scores(f.at<float>("prediction"), rows, f.number("classes"),
                                 entropy.data(), margin.data())))
    return;
  f.expect_near("=entropy", entropy);
  f.expect_near("=margin", margin);
}

void select(const CaseFile& f, int64_t threads) {
  A3dSelect in{};
  in.points = f.at<float>("points");
  in.stride = f.number("stride");
  in.splits = f.at<int64_t>("splits");
  in.scans = f.length<int64_t>("splits") - 1;
  in.size = f.real("size");
  in.prediction = f.at<char>("prediction");
  in.kind = f.number("kind");
  in.prediction_rows = f.number("rows");
  in.rows = f.at<int64_t>("row_of_point");
  in.classes = f.number("classes");
  in.score = f.number("score");
  in.reduce = f.number("mean") ? kA3dMean : kA3dMax;
  in.table = f.at<int64_t>("table");
  in.table_length = f.length<int64_t>("table");
  in.asked = f.at<int32_t>("asked_cells");
  in.asked_splits = f.at<int64_t>("asked_splits");
  in.seeds = f.at<int64_t>("seeds");
  in.k = f.number("k");
  in.min_points = f.number("min_points");
  in.max_range = f.real("max_range");
  in.threads = threads;
  const auto picks = size_t(in.scans * in.k), n = size_t(in.splits[in.scans]);
  std::vector<int32_t> cells(picks * 3), pick_of_point(n);
  Longs scores(picks), counts(picks), per_point(n);
  in.cells = cells.data();
  in.scores = scores.data();
  in.counts = counts.data();
  in.pick_of_point = pick_of_point.data();
  in.point_scores = per_point.data();
  if (!taken(f, a3d_select(&in))) return;
  f.expect("=cells", cells);
  f.expect("=scores", scores);
  f.expect("=counts", counts);
  f.expect("=pick_of_point", pick_of_point);
  f.expect("=point_scores", per_point);
}

void interpolation(const CaseFile& f, int64_t threads) {
  A3dInterpolation in{};
  in.points = f.at<float>("point_points");
  in.point_stride = f.number("point_stride");
  in.point_splits = f.at<int64_t>("point_splits");
  in.cells = f.at<int32_t>("cells");
  in.splits = f.at<int64_t>("splits");
  in.scans = f.length<int64_t>("splits") - 1;
  in.stride = f.number("stride");
  in.threads = threads;
  Longs index(size_t(in.point_splits[in.scans]) * 8);
  std::vector<float> weight(index.size());
  in.index = index.data();
  in.weight = weight.data();
  if (!taken(f, a3d_interpolation(&in))) return;
  f.expect("=index", index);
  f.expect("=weight", weight);
}

template <class T>
void devoxelize(const CaseFile& f) {
  const int64_t voxels = f.number("voxels"), columns = f.number("columns");
  const int64_t rows = f.number("rows");
  std::vector<T> out(size_t(rows * columns)), back(size_t(voxels * columns));
  A3dDevoxelize in{f.at<T>("features"),    sizeof(T), f.at<int64_t>("index"), f.at<T>("weight"),
                   rows, f.number("neighbours"), voxels, columns, out.data()};
  if (!taken(f, a3d_devoxelize(&in))) return;
  f.expect("=out", out);
  in.input = f.at<T>("grad");
  in.out = back.data();
  taken(f, a3d_devoxelize_backward(&in));
  f.expect("=back", back);
}

template <class T>
void voxel_mean(const CaseFile& f) {
  const int64_t voxels = f.length<int64_t>("splits") - 1, columns = f.number("columns");
  std::vector<T> out(size_t(voxels * columns));
  a3d_mean(f.at<T>("features"), sizeof(T), f.at<int64_t>("members"), f.at<int64_t>("splits"),
           voxels, columns, out.data());
  f.expect("=out", out);
}

void kernel_map(const CaseFile& f) {
  const int64_t k = f.length<int32_t>("offsets") / 3, columns = f.length<int32_t>("out_cells") / 3;
  Longs out(size_t(k * columns));
  if (!taken(f, a3d_kernel_map(f.at<int32_t>("cells"), f.at<int64_t>("splits"),
                               f.length<int64_t>("splits") - 1, f.at<int32_t>("offsets"), k,
                               f.at<int32_t>("out_cells"), f.at<int64_t>("out_splits"),
                               f.number("stride"), out.data())))
    return;
  f.expect("=out", out);
}

// The rulebook, and the same from its pairs in another order.
void rulebook(const CaseFile& f, int64_t threads) {
  const int64_t k = f.length<int32_t>("offsets") / 3, rows = f.length<int32_t>("cells") / 3;
  const int64_t block_rows = f.number("block_rows");
  A3dPairs* rules = nullptr;
  const int64_t pairs = a3d_rulebook(f.at<int32_t>("cells"), f.at<int64_t>("splits"),
                                     f.length<int64_t>("splits") - 1, f.at<int32_t>("offsets"), k,
                                     block_rows, threads, &rules);
  if (!taken(f, pairs)) return;
  std::vector<int32_t> rows_in(static_cast<size_t>(pairs)), rows_out(rows_in.size());
  Longs starts(size_t((rows + block_rows - 1) / block_rows * k + 1));
  a3d_rulebook_write(rules, threads, rows_in.data(), rows_out.data(), starts.data());
  a3d_rulebook_free(rules);
  f.expect("=rows_in", rows_in);
  f.expect("=rows_out", rows_out);
  f.expect("=starts", starts);
  Longs offset, ins, outs;
  for (int64_t i = 0; i < k; ++i)  // all blocks of an offset, then of the next one
    for (size_t list = size_t(i); list + 1 < starts.size(); list += size_t(k))
      for (int64_t pair = starts[list]; pair < starts[list + 1]; ++pair) {
        offset.push_back(i);
        ins.push_back(rows_in[size_t(pair)]);
        outs.push_back(rows_out[size_t(pair)]);
      }
  taken(f, a3d_rulebook_sort(offset.data(), ins.data(), outs.data(), pairs, k, block_rows, rows,
                             rows_in.data(), rows_out.data(), starts.data()));
  f.expect("=rows_in", rows_in);
  f.expect("=rows_out", rows_out);
  f.expect("=starts", starts);
}

template <class T>
void convolution(const CaseFile& f, int64_t threads) {
  const int64_t depth = f.number("depth"), columns = f.number("columns");
  const int64_t offsets = f.number("offsets");
  const A3dRulebook rules{f.at<int32_t>("rows_in"),      f.at<int32_t>("rows_out"),
                          f.at<int64_t>("starts"),       f.length<int32_t>("rows_in"),
                          offsets,                       f.number("block_rows"),
                          f.number("inputs"),            f.number("outputs")};
  std::vector<T> out(size_t(rules.outputs * columns)), weight(size_t(columns * offsets * depth));
  A3dConvolution in{};
  in.rules = rules;
  in.in = f.at<T>("features");
  in.weight = f.at<T>("weight");
  in.weight_depth = 1;
  in.weight_column = offsets * depth;
  in.weight_offset = depth;
  in.bias = f.at<T>("bias");
  in.residual = f.at<T>("residual");
  in.relu = f.number("relu");
  in.out = out.data();
  in.depth = depth;
  in.columns = columns;
  in.element = sizeof(T);
  in.threads = threads;
  const A3dWeightGradient back{rules, in.in, f.at<T>("grad"), weight.data(), depth, columns,
                               sizeof(T), threads};
  const bool sound = taken(f, a3d_convolve(&in));
  if (taken(f, a3d_weight_gradient(&back)) && sound) {
    f.expect("=out", out);
    f.expect("=weight", weight);
  }
}

void lovasz(const CaseFile& f, int64_t threads) {
  const int64_t rows = f.number("rows"), classes = f.number("classes");
  std::vector<float> gradient(size_t(rows * classes));
  float loss = 0;
  if (!taken(f, a3d_lovasz(f.at<float>("probabilities"), f.at<int64_t>("target"), rows, classes,
                           threads, &loss, gradient.data())))
    return;
  if (!(std::fabs(loss - *f.at<float>("=loss")) < 1e-5f)) f.fail("the loss differs");
}

template <class T>
void close(const CaseFile& f, const char* name, const std::vector<T>& found) {
  const T* const wanted = f.at<T>(name);
  for (size_t i = 0; i < found.size(); ++i)
    if (!(std::fabs(found[i] - wanted[i]) < T(1e-3))) return f.fail(std::string(name) + " differs");
}

template <class T>
void batch_norm(const CaseFile& f, int64_t threads) {
  A3dBatchNorm in{};
  in.rows = f.number("rows");
  in.channels = f.number("channels");
  const size_t numbers = size_t(in.rows * in.channels), channels = size_t(in.channels);
  std::vector<T> out(numbers), before(numbers), of_in(numbers);
  std::vector<T> mean(channels), variance(channels), of_weight(channels), of_bias(channels);
  in.in = f.at<T>("in");
  in.weight = f.at<T>("weight");
  in.bias = f.at<T>("bias");
  in.residual = f.at<T>("residual");
  in.gradient = f.at<T>("gradient");
  in.out = out.data();
  in.mean = mean.data();
  in.variance = variance.data();
  in.in_gradient = of_in.data();
  in.weight_gradient = of_weight.data();
  in.bias_gradient = of_bias.data();
  in.masked_gradient = before.data();
  in.epsilon = 1e-5;
  in.relu = f.number("relu");
  in.element = sizeof(T);
  in.threads = threads;
  taken(f, a3d_batch_norm(&in));
  taken(f, a3d_batch_norm_gradient(&in));
  close(f, "=out", out);
  close(f, "=of_in", of_in);
  close(f, "=of_weight", of_weight);
  close(f, "=of_bias", of_bias);
  if (in.relu) close(f, "=before", before);
}

void run(const CaseFile& f, int64_t threads) {
  const std::string name = f.text("operation");
  if (name == "group") return group(f, threads);
  if (name == "histogram") return histogram(f);
  if (name == "confusion") return confusion(f);
  if (name == "point_scores") return point_scores(f);
  if (name == "select") return select(f, threads);
  if (name == "interpolation") return interpolation(f, threads);
  if (name == "kernel_map") return kernel_map(f);
  if (name == "rulebook") return rulebook(f, threads);
  if (name == "lovasz") return lovasz(f, threads);
  const bool wide = f.number("wide");
  if (name == "convolution")
    return wide ? convolution<double>(f, threads) : convolution<float>(f, threads);
  if (name == "batch_norm")
    return wide ? batch_norm<double>(f, threads) : batch_norm<float>(f, threads);
  if (name == "devoxelize") return wide ? devoxelize<double>(f) : devoxelize<float>(f);
  if (name == "voxel_mean") return wide ? voxel_mean<double>(f) : voxel_mean<float>(f);
  f.fail("unknown operation " + name);
}

}  // namespace

int main(int count, char** paths) {
  const std::string variants = a3d_variants();
  for (size_t at = 0; at < variants.size();) {
    const size_t end = std::min(variants.find(' ', at), variants.size());
    a3d_use(variants.substr(at, end - at).c_str());
    at = end + 1;
    for (int i = 1; i < count; ++i) {
      const CaseFile file(paths[i]);
      for (const int64_t threads : {1, 2, 4}) run(file, threads);
      std::thread other([&] { run(file, 2); });
      run(file, 2);
      other.join();
    }
  }
  printf("%d cases agree with the reference: CPU library (%s) on 1, 2 and 4 threads\n", count - 1,
         variants.c_str());
  return count > 1 ? 0 : 1;
}
