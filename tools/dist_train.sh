#!/usr/bin/env bash
# Train with several processes on this machine, or on several machines.
#
#   tools/dist_train.sh PROCESSES CONFIG [options of annotator3d train]
#
# One process for each GPU; on a machine without GPUs they talk through gloo. On several machines
# run the same line on each, with PROCESSES those of one machine and
#   NODES       number of machines (default 1)
#   NODE_RANK   0 on the first, 1 on the second, ...
#   MASTER_ADDR address of the first machine (default 127.0.0.1)
#   MASTER_PORT a port that is free there (default: any, on one machine; 29500 on several)
# The work directory must be on a disk that all machines share.
set -euo pipefail

if [ $# -lt 2 ] || ! [ "$1" -gt 0 ] 2>/dev/null; then
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
processes=$1
shift
if [ "${NODES:-1}" -eq 1 ]; then
    where=(--standalone)
else
    where=(--nnodes "$NODES" --node-rank "${NODE_RANK:?NODE_RANK: number of this machine, from 0}"
        --master-addr "${MASTER_ADDR:?MASTER_ADDR: address of the first machine}"
        --master-port "${MASTER_PORT:-29500}")
fi
here=$(cd "$(dirname "$0")" && pwd)
exec "${PYTHON:-python}" -m torch.distributed.run --nproc-per-node "$processes" "${where[@]}" \
    "$here/train.py" "$@"
