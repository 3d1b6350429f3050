#!/usr/bin/env bash
# Checks the compiled kernels beyond what their tests can: the code of the CUDA library on host
# threads under the address, undefined-behaviour and thread sanitizers, with test cases that the torch
# reference answered; and, where there is an nvcc, that the CUDA library compiles without a warning
# or a register spill. Exits non-zero on any finding. Wants no GPU.
#
#   tools/check_kernels.sh [PYTHON]      default: .venv/bin/python
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
host=annotator3d/kernels/csrc/host
scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT

build() { # build NAME FLAG...
    "${CXX:-c++}" -std=c++17 -g1 -Wall -Wextra -Werror -ffp-contract=off -pthread "${@:2}" \
        -fno-sanitize-recover=all "$host"/cases.cpp "$host"/library.cpp -o "$scratch/$1"
}

# The thread sanitizer wants less random addresses than some kernels give.
steady() {
    if setarch -R true 2>/dev/null; then setarch -R "$@"; else "$@"; fi
}

spills() { # spills NVCC: fails where a kernel keeps registers in memory, and lists what was used
    local log="$scratch/ptxas" lines
    "$1" -O3 -std=c++17 --fmad=false -Werror all-warnings -Xcompiler -Wall,-Wextra,-Werror \
        -Xptxas -v --threads 0 -gencode arch=compute_80,code=sm_80 \
        -gencode arch=compute_90,code=sm_90 -o "$scratch/cuda.o" -c \
        annotator3d/kernels/csrc/cuda/library.cu >"$log" 2>&1 || { cat "$log"; return 1; }
    lines=$(grep -c 'bytes spill stores' "$log") || { echo "$1 names no kernel" >&2; return 1; }
    if grep -B1 'bytes spill stores' "$log" | grep -B1 -E ' [1-9][0-9]* bytes spill'; then
        echo "these CUDA kernels spill registers" >&2
        return 1
    fi
    echo "$lines CUDA kernels without spills, most registers:" \
        "$(grep -o 'Used [0-9]* reg' "$log" | cut -d' ' -f2 | sort -n | tail -1)"
}

mkdir "$scratch/cases"
jobs=()
PYTHONPATH=tests "$python" tests/kernel_cases.py "$scratch/cases" & jobs+=($!)
build memory -O0 -fsanitize=address,undefined,float-cast-overflow & jobs+=($!)
build threads -O1 -fsanitize=thread & jobs+=($!)
nvcc=${CUDACXX:-$(PATH="$PATH:/usr/local/cuda/bin" command -v nvcc || true)}
if [ -n "$nvcc" ]; then
    spills "$nvcc" & jobs+=($!)
else
    echo "no nvcc: the CUDA library is not compiled"
fi
for job in "${jobs[@]}"; do wait "$job"; done

echo "address and undefined-behaviour sanitizers:"
"$scratch/memory" "$scratch"/cases/*.case
echo "thread sanitizer:"
steady "$scratch/threads" "$scratch"/cases/*.case
