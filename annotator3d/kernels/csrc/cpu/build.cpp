#include "../abi.h"

#ifndef A3D_VERSION
#define A3D_VERSION "unknown"
#endif
#ifndef A3D_FLAGS
#define A3D_FLAGS "unknown"
#endif

int64_t a3d_abi() { return 1; }

const char* a3d_build() { return A3D_VERSION "\n" __VERSION__ "\n" A3D_FLAGS; }
