// Memory and threads of all variants.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "variant.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

constexpr size_t kHead = 64;                // before what is handed out: its size
constexpr size_t kPage = size_t(2) << 20;   // a huge one
constexpr size_t kMostKept = 64 << 20;      // larger pieces are not kept
constexpr int kKept = 16;
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeep = false;  // every piece is fresh, filled with what nobody expects, and exact
#else
constexpr bool kKeep = true;
#endif

// No lock: a process may fork while another thread works.
std::atomic<void*> kept[kKept];

size_t& size_of(void* piece) { return *static_cast<size_t*>(piece); }

void* fresh(size_t bytes) {
  void* piece = nullptr;
#if defined(_WIN32)
  piece = _aligned_malloc(bytes, kHead);
#else
  const bool large = bytes >= kPage;
  if (posix_memalign(&piece, large ? kPage : kHead, bytes)) return nullptr;
#if defined(__linux__)
  if (large) madvise(piece, bytes, MADV_HUGEPAGE);
#endif
#endif
  return piece;
}

void drop(void* piece) {
#if defined(_WIN32)
  _aligned_free(piece);
#else
  free(piece);
#endif
}

void* payload(void* piece) { return static_cast<char*>(piece) + kHead; }

std::atomic<A3dTeam> team{nullptr};

// Tasks that threads take in turn until none is left or one has failed.
struct Job {
  int64_t (*task)(void* context, int64_t i);
  void* context;
  int64_t tasks;
  std::atomic<int64_t> next{0}, status{0};
};

void work(void* data) {
  Job& job = *static_cast<Job*>(data);
  for (;;) {
    const int64_t i = job.next.fetch_add(1);
    if (i >= job.tasks || job.status.load() < 0) return;
    const int64_t result = job.task(job.context, i);
    int64_t lowest = job.status.load();
    while (result < lowest && !job.status.compare_exchange_weak(lowest, result)) {
    }
  }
}

}  // namespace

void* a3d_take_memory(size_t bytes) {
  const size_t needed = kKeep ? (bytes + kHead + kPage - 1) / kPage * kPage : bytes + kHead;
  for (auto& place : kept) {
    void* piece = place.exchange(nullptr);
    if (!piece) continue;
    if (size_of(piece) >= needed && size_of(piece) / 8 <= needed) return payload(piece);
    void* empty = nullptr;
    if (!place.compare_exchange_strong(empty, piece)) drop(piece);
  }
  void* piece = fresh(needed);
  if (!piece) return nullptr;
  if (!kKeep) memset(piece, 0xA5, needed);
  size_of(piece) = needed;
  return payload(piece);
}

void a3d_give_memory(void* memory) {
  if (!memory) return;
  void* piece = static_cast<char*>(memory) - kHead;
  if (kKeep && size_of(piece) <= kMostKept)
    for (auto& place : kept) {
      void* empty = nullptr;
      if (place.compare_exchange_strong(empty, piece)) return;
    }
  drop(piece);
}

int64_t a3d_use_team(A3dTeam other) {
  team.store(other);
  return 0;
}

int64_t a3d_run(int64_t tasks, int64_t threads, int64_t (*task)(void* context, int64_t i),
                void* context) {
  Job job{task, context, tasks};
  threads = threads < tasks ? threads : tasks;
  if (threads <= 1) {
    work(&job);
  } else if (const A3dTeam other = team.load()) {
    other(work, &job, unsigned(threads), 0);
  } else {
    std::vector<std::thread> others;
    try {
      for (int64_t i = 1; i < threads; ++i) others.emplace_back(work, &job);
    } catch (...) {  // no more threads, or no memory for one: those that run do it all
    }
    work(&job);
    for (std::thread& thread : others) thread.join();
  }
  return job.status;
}
