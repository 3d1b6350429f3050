// Memory of the library, and work shared out to threads.
#pragma once

#include "variant.h"

namespace a3d {
namespace {

// Memory of the library for the length of a block.
class Memory {
 public:
  explicit Memory(size_t bytes) : at_(a3d_take_memory(bytes)) {}
  ~Memory() { a3d_give_memory(at_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* get() const { return at_; }

 private:
  void* at_;
};

template <class Task>
int64_t run(int64_t tasks, int64_t threads, const Task& task) {
  const auto call = [](void* context, int64_t i) -> int64_t {
    return (*static_cast<const Task*>(context))(i);
  };
  return a3d_run(tasks, threads, call, const_cast<Task*>(&task));
}

}  // namespace
}  // namespace a3d
