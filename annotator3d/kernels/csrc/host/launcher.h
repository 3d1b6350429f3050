// The launcher of the CUDA bodies for host threads: it tests their logic where there is no GPU.
#pragma once

#include <atomic>
#include <cstring>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "../cuda/launch.h"

namespace a3d {

constexpr int64_t kNoThreads = -2;

class HostLauncher {
 public:
  explicit HostLauncher(const A3dRun& run) : threads_(reinterpret_cast<intptr_t>(run.stream)) {}

  void fill(void* at, int byte, int64_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    return fill_gaps_too(static_cast<volatile char*>(at), byte, bytes);
#endif
    if (bytes) memset(at, byte, size_t(bytes));
  }

  template <class Body>
  void each(const Body& body, int64_t most) {
    if (most <= 0 || error_) return;
    const int64_t pieces = pieces_of(body);
    spread(pieces, [&](int64_t piece) { run_piece(body, piece); });
  }

  // Pieces of both take turns.
  template <class Body, class Other>
  void both(const Body& body, int64_t most, const Other& other, int64_t other_most) {
    if (error_) return;
    const int64_t mine = most > 0 ? pieces_of(body) : 0;
    const int64_t others = other_most > 0 ? pieces_of(other) : 0;
    const int64_t turns = mine < others ? mine : others;
    spread(mine + others, [&](int64_t piece) {
      const int64_t rest = piece - turns;
      if (piece < 2 * turns ? piece % 2 == 0 : turns < mine)
        run_piece(body, piece < 2 * turns ? piece / 2 : rest);
      else
        run_piece(other, piece < 2 * turns ? piece / 2 : rest);
    });
  }

  int64_t status() const { return error_; }

 private:
#if defined(__SANITIZE_ADDRESS__)
  __attribute__((no_sanitize("address"))) static void fill_gaps_too(volatile char* at, int byte,
                                                                    int64_t bytes) {
    for (int64_t i = 0; i < bytes; ++i) at[i] = char(byte);
  }
#endif

  static constexpr int64_t kPiece = 48;  // small, so that threads meet often

  template <class Body>
  static int64_t pieces_of(const Body& body) {
    if constexpr (IsTiled<Body>::value)
      return body.tiles();
    else
      return (body.size() + kPiece - 1) / kPiece;
  }

  template <class Body>
  static void run_piece(const Body& body, int64_t piece) {
    if constexpr (IsTiled<Body>::value) {
      using T = std::remove_const_t<std::remove_pointer_t<decltype(body.logits)>>;
      std::vector<T> copy(size_t(body.tile_bytes()) / sizeof(T));
      for (int lane = 0; lane < 32; ++lane) body.load(piece, lane, copy.data());
      for (int lane = 0; lane < 32; ++lane) body.work(piece, lane, copy.data());
    } else {
      const int64_t n = body.size(), stop = (piece + 1) * kPiece < n ? (piece + 1) * kPiece : n;
      for (int64_t i = piece * kPiece; i < stop; ++i) body(i);
    }
  }

  // work(piece) of every piece, by threads that take the next one when they are done.
  template <class Work>
  void spread(int64_t pieces, const Work& work) {
    std::atomic<int64_t> next{0};
    const auto run = [&] {
      for (int64_t piece; (piece = next.fetch_add(1, std::memory_order_relaxed)) < pieces;)
        work(piece);
    };
    std::vector<std::thread> others;
    try {
      for (int64_t i = 1; i < threads_ && i < pieces; ++i) others.emplace_back(run);
    } catch (const std::system_error&) {
      error_ = kNoThreads;
    }
    run();
    for (std::thread& other : others) other.join();
  }

  int64_t threads_;
  int64_t error_ = 0;
};

}  // namespace a3d
