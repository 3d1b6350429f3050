// The CUDA library: kernels around the bodies, and their launcher.
#include <cuda_runtime_api.h>

#include "launch.h"

namespace a3d {
namespace {

constexpr unsigned kThreads = 256, kMostBlocks = 1u << 20;
constexpr int64_t kCudaError = -1000;  // less the cudaError_t

// All items of a body, or all its tiles, by `blocks` blocks of which this is `block`.
template <class Body>
__device__ void run_body(const Body& body, unsigned block, unsigned blocks) {
  if constexpr (IsTiled<Body>::value) {
    extern __shared__ __align__(16) unsigned char memory[];
    constexpr unsigned kWarps = kThreads / 32;
    const unsigned warp = threadIdx.x / 32;
    const int lane = int(threadIdx.x % 32);
    auto* copy = reinterpret_cast<std::remove_const_t<std::remove_pointer_t<decltype(body.logits)>>*>(
        memory + warp * body.tile_bytes());
    const int64_t tiles = body.tiles();
    for (int64_t tile = int64_t(block) * kWarps + warp; tile < tiles; tile += int64_t(blocks) * kWarps) {
      body.load(tile, lane, copy);
      __syncwarp();
      body.work(tile, lane, copy);
      __syncwarp();
    }
  } else {
    const int64_t n = body.size();
    for (int64_t i = int64_t(block) * kThreads + threadIdx.x; i < n; i += int64_t(blocks) * kThreads)
      body(i);
  }
}

template <class Body>
__global__ void __launch_bounds__(kThreads, BlocksPerSm<Body>::value) each_kernel(Body body) {
  run_body(body, blockIdx.x, gridDim.x);
}

// Blocks take turns, so that one body computes while the other waits for memory.
template <class Body, class Other>
__global__ void __launch_bounds__(kThreads) both_kernel(Body body, Other other) {
  if (blockIdx.x % 2)
    run_body(other, blockIdx.x / 2, gridDim.x / 2);
  else
    run_body(body, blockIdx.x / 2, gridDim.x / 2);
}

class CudaLauncher {
 public:
  explicit CudaLauncher(const A3dRun& run) : stream_(static_cast<cudaStream_t>(run.stream)) {
    check(cudaSetDevice(int(run.device)));
    cudaGetLastError();  // what went wrong before us was not ours
  }

  void fill(void* at, int byte, int64_t bytes) {
    if (bytes && !error_) check(cudaMemsetAsync(at, byte, size_t(bytes), stream_));
  }

  template <class Body>
  void each(const Body& body, int64_t most) {
    if (most <= 0 || error_) return;
    each_kernel<<<blocks_for(most), kThreads, memory_for(body), stream_>>>(body);
    check(cudaGetLastError());
  }

  template <class Body, class Other>
  void both(const Body& body, int64_t most, const Other& other, int64_t other_most) {
    if (most <= 0) return each(other, other_most);
    if (other_most <= 0) return each(body, most);
    if (error_) return;
    const unsigned blocks = 2 * blocks_for(most > other_most ? most : other_most);
    const size_t mine = memory_for(body), others = memory_for(other);
    both_kernel<<<blocks, kThreads, mine > others ? mine : others, stream_>>>(body, other);
    check(cudaGetLastError());
  }

  int64_t status() const { return error_ ? kCudaError - error_ : 0; }

 private:
  static unsigned blocks_for(int64_t most) {
    const int64_t blocks = (most + kThreads - 1) / kThreads;
    return unsigned(blocks < kMostBlocks ? blocks : kMostBlocks);
  }
  template <class Body>
  static size_t memory_for(const Body& body) {
    if constexpr (IsTiled<Body>::value)
      return size_t(body.tile_bytes()) * (kThreads / 32);
    else
      return 0;
  }
  void check(cudaError_t error) {
    if (!error_) error_ = int(error);
  }

  cudaStream_t stream_;
  int error_ = 0;
};

}  // namespace
}  // namespace a3d

#define A3D_LAUNCHER a3d::CudaLauncher
#include "exports.h"

#ifndef A3D_VERSION
#define A3D_VERSION "unknown"
#endif
#ifndef A3D_FLAGS
#define A3D_FLAGS "unknown"
#endif
#ifndef A3D_ARCHITECTURES
#define A3D_ARCHITECTURES "unknown"
#endif
#define A3D_TEXT_OF(x) #x
#define A3D_TEXT(x) A3D_TEXT_OF(x)
#define A3D_NVCC \
  "nvcc " A3D_TEXT(__CUDACC_VER_MAJOR__) "." A3D_TEXT(__CUDACC_VER_MINOR__) "." A3D_TEXT(__CUDACC_VER_BUILD__)

int64_t a3d_cuda_abi() { return 1; }

const char* a3d_cuda_build() {
  return A3D_VERSION "\n" A3D_NVCC "\n" A3D_FLAGS "\n" A3D_ARCHITECTURES;
}

const char* a3d_cuda_error(int64_t code) {
  if (code == a3d::kSmallWorkspace) return "the workspace is too small";
  return cudaGetErrorString(cudaError_t(a3d::kCudaError - code));
}

int64_t a3d_cuda_ready(int64_t device) {
  cudaError_t error = cudaSetDevice(int(device));
  cudaFuncAttributes attributes;
  if (!error) error = cudaFuncGetAttributes(&attributes, a3d::each_kernel<a3d::Report>);
  cudaGetLastError();
  return error ? a3d::kCudaError - int(error) : 0;
}
