// No C++ exception may cross the C ABI.
#pragma once

#include <new>

#include "../abi.h"

namespace a3d {

template <class Body>
int64_t guarded(Body body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  }
}

}  // namespace a3d
