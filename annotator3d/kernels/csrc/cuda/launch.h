// What the operations need of a launcher, and of the workspace that their caller allocates.
//
// A launcher (cuda: library.cu, host threads: ../host/launcher.h) has
//   fill(at, byte, bytes)                 memory to a byte
//   each(body, most)                      body(i) for every i below body.size() <= most
//   both(body, most, other, other_most)   the same for two bodies that share nothing
// in the order of the calls, and keeps the first error. A body with tiles() has, instead of a call
// operator, load() and work(): all lanes of a tile load before any of them works. One for which
// ptxas would spill registers to fit more blocks says how many are enough: kBlocksPerSm.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "abi.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace a3d {

constexpr int64_t kSmallWorkspace = -1;
constexpr int64_t kTileBytes = 6144;  // of fast memory for a tile: 8 tiles in the 48 KiB of a block

template <class Body, class = void>
struct IsTiled : std::false_type {};
template <class Body>
struct IsTiled<Body, std::void_t<decltype(std::declval<Body>().tiles())>> : std::true_type {};

// Blocks that must fit a multiprocessor, which bounds the registers of a body; 0: as ptxas thinks.
template <class Body, class = void>
struct BlocksPerSm : std::integral_constant<int, 0> {};
template <class Body>
struct BlocksPerSm<Body, std::void_t<decltype(Body::kBlocksPerSm)>>
    : std::integral_constant<int, Body::kBlocksPerSm> {};

class Workspace {
 public:
  explicit Workspace(const A3dRun& run) : base_(static_cast<char*>(run.workspace)) {}

  // Room for `count` of T; no address while only the size is wanted. The address sanitizer learns
  // where it ends.
  template <class T>
  T* take(int64_t count) {
    const int64_t at = used_, end = at + count * int64_t(sizeof(T));
    used_ = (end + kGap + kAlign - 1) / kAlign * kAlign;
    if (!base_) return nullptr;
#if defined(__SANITIZE_ADDRESS__)
    ASAN_POISON_MEMORY_REGION(base_ + end, size_t(used_ - end));
#endif
    return reinterpret_cast<T*>(base_ + at);
  }
  int64_t used() const { return used_; }

 private:
  static constexpr int64_t kAlign = 256;
#if defined(__SANITIZE_ADDRESS__)
  static constexpr int64_t kGap = kAlign;
#else
  static constexpr int64_t kGap = 0;
#endif
  char* base_;
  int64_t used_ = 0;
};

// Runs launches(launcher) if there is the workspace that they want; returns what the ABI says.
template <class Launcher, class Launches>
int64_t launched(const A3dRun& run, int64_t wanted, Launches launches) {
  if (!run.workspace) return wanted;
  if (run.bytes < wanted) return kSmallWorkspace;
  Launcher launcher(run);
  launches(launcher);
  return launcher.status();
}

}  // namespace a3d
