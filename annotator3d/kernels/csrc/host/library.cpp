// The CUDA library's code for host threads, with its C ABI.
#include "launcher.h"

#define A3D_LAUNCHER a3d::HostLauncher
#include "../cuda/exports.h"

int64_t a3d_cuda_abi() { return 1; }

const char* a3d_cuda_build() { return "host\n" __VERSION__ "\n\nhost"; }

const char* a3d_cuda_error(int64_t code) {
  return code == a3d::kSmallWorkspace ? "the workspace is too small" : "no thread can be started";
}

int64_t a3d_cuda_ready(int64_t) { return 0; }
