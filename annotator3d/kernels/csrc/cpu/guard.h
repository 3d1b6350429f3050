// No C++ exception may cross the C ABI.
#pragma once

#include <new>

#include "../abi.h"
#include "variant.h"

namespace a3d {

template <class Body>
int64_t guarded(Body body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  }
}

// a3d_run() of task(i).
template <class Task>
int64_t guarded_run(int64_t tasks, int64_t threads, const Task& task) {
  const auto call = [](void* context, int64_t i) -> int64_t {
    return guarded([&] { return (*static_cast<const Task*>(context))(i); });
  };
  return a3d_run(tasks, threads, call, const_cast<Task*>(&task));
}

}  // namespace a3d
