#!/usr/bin/env bash
# Checks the compiled kernels beyond what their tests can: the CPU library, and the code of the CUDA
# library on host threads, under the address, undefined-behaviour and thread sanitizers, with test
# cases that the torch reference answered; and, where there is an nvcc, that the CUDA library
# compiles without a warning or a register spill. Exits non-zero on any finding. Wants no GPU.
#
#   tools/check_kernels.sh [PYTHON]      default: .venv/bin/python
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
sources=annotator3d/kernels/csrc
scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT

gpus=(80 90 100 120) # A100, H100, B200, RTX 50: each allots registers in its own way

# As in CMakeLists.txt.
declare -A variants=([generic]="")
if [ "$(uname -m)" = x86_64 ]; then
    v3="-mavx2 -mfma -mbmi -mbmi2 -mpopcnt"
    variants[v3]=$v3
    variants[v4]="$v3 -mavx512f -mavx512bw -mavx512cd -mavx512dq -mavx512vl"
fi

compile() { # compile NAME FLAG-OR-SOURCE...
    "${CXX:-c++}" -std=c++17 -g1 -Wall -Wextra -Werror -ffp-contract=off -pthread \
        -fno-sanitize-recover=all "${@:2}" -o "$scratch/$1"
}

build() { # build NAME FLAG...: the programs NAME-cpu and NAME-cuda
    local name=$1 variant flags=("${@:2}") objects=()
    for variant in "${!variants[@]}"; do
        compile "$name-$variant.o" "${flags[@]}" ${variants[$variant]} -Wno-uninitialized \
            "-DA3D_VARIANT=$variant" -c "$sources/cpu/variant.cpp" # GCC's own headers warn
        objects+=("$scratch/$name-$variant.o")
    done
    if [ ${#objects[@]} -gt 1 ]; then flags+=(-DA3D_X86_VARIANTS); fi
    compile "$name-cpu" "${flags[@]}" "$sources"/checks/cpu_cases.cpp \
        "$sources"/cpu/{kernel_map,library,lovasz,rulebook,shared}.cpp "${objects[@]}"
    compile "$name-cuda" "${flags[@]}" "$sources"/{checks/cuda_cases,host/library}.cpp
}

# The thread sanitizer wants less random addresses than some kernels give.
steady() {
    if setarch -R true 2>/dev/null; then setarch -R "$@"; else "$@"; fi
}

spills() { # spills NVCC: fails where a kernel keeps registers in memory, and lists what was used
    local log="$scratch/ptxas" lines known number newest targets=() names=()
    known=$("$1" --list-gpu-code)
    for number in "${gpus[@]}"; do
        if grep -qx "sm_$number" <<<"$known"; then
            targets+=(-gencode "arch=compute_$number,code=sm_$number")
            names+=("sm_$number") newest=$number
        else
            echo "$1 is too old for sm_$number: not compiled for it"
        fi
    done
    targets+=(-gencode "arch=compute_$newest,code=compute_$newest")
    "$1" -O3 -std=c++17 --fmad=false -Werror all-warnings -Xcompiler -Wall,-Wextra,-Werror \
        -Xptxas -v --threads 0 "${targets[@]}" -o "$scratch/cuda.o" -c \
        "$sources"/cuda/library.cu >"$log" 2>&1 || { cat "$log"; return 1; }
    lines=$(grep -c 'bytes spill stores' "$log") || { echo "$1 names no kernel" >&2; return 1; }
    if grep -B1 'bytes spill stores' "$log" | grep -B1 -E ' [1-9][0-9]* bytes spill'; then
        echo "these CUDA kernels spill registers" >&2
        return 1
    fi
    echo "$lines CUDA kernels (${names[*]}, ptx_$newest) without spills, most registers:" \
        "$(grep -o 'Used [0-9]* reg' "$log" | cut -d' ' -f2 | sort -n | tail -1)"
}

mkdir "$scratch/cases"
jobs=()
PYTHONPATH=tests/support "$python" tests/support/kernel_cases.py "$scratch/cases" & jobs+=($!)
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
"$scratch/memory-cuda" "$scratch"/cases/both/*.case
"$scratch/memory-cpu" "$scratch"/cases/*/*.case
echo "thread sanitizer:"
steady "$scratch/threads-cuda" "$scratch"/cases/both/*.case
steady "$scratch/threads-cpu" "$scratch"/cases/*/*.case
