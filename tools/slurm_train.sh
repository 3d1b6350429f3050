#!/usr/bin/env bash
# Train in a SLURM allocation: one process for each task.
#
#   sbatch --nodes 2 --ntasks-per-node 4 --gpus-per-node 4 --signal TERM@120 --requeue \
#       tools/slurm_train.sh CONFIG --work-dir DIR [options of annotator3d train]
#
# Two minutes before the time is up, or when the job is preempted, SLURM sends SIGTERM: the run saves
# its place and ends. --resume is always given, so that a job that is put back into the queue goes on
# where it was. DIR must be on a disk that all machines share.
set -euo pipefail

if [ $# -lt 1 ] || [ -z "${SLURM_JOB_ID:-}" ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
# sbatch copies this script: the checkout is where the command was given.
tools=${ANNOTATOR3D_TOOLS:-${SLURM_SUBMIT_DIR:-.}/tools}
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST") # no `| head`: it could end scontrol by SIGPIPE
MASTER_ADDR=${hosts%%$'\n'*}
MASTER_PORT=${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 20000))}
export MASTER_ADDR MASTER_PORT
# exec: a signal to this script reaches srun, which passes it on to every task.
exec srun --kill-on-bad-exit=1 bash -c '
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
    exec "${PYTHON:-python}" "$0" "$@"
' "$tools/train.py" "$@" --resume
