#!/usr/bin/env bash
# Several nodes without SLURM: run this on every one of them, with the same HEAD, NNODES and
# arguments. The run directory must lie on a file system that all nodes share.
#   HEAD=node1 NNODES=2 [PORT=29500] [RANKS=N] bash launch/multinode.sh --config FILE [KEY=VALUE ...]
set -euo pipefail
: "${HEAD:?the host that the nodes meet at, one of them}"
: "${NNODES:?how many nodes there are}"
PYTHON=${PYTHON:-python3} # of the environment that cofi_dist is installed in
if [ -z "${RANKS:-}" ]; then # ranks on this node
  RANKS=$(nvidia-smi --list-gpus 2> /dev/null | wc -l)
  [ "$RANKS" -gt 0 ] || RANKS=1
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$PYTHON" -m torch.distributed.run --nnodes="$NNODES" --nproc-per-node="$RANKS" \
  --rdzv-backend=c10d --rdzv-endpoint="$HEAD:${PORT:-29500}" --rdzv-id="${RDZV_ID:-cofi_dist}" \
  -m cofi_dist train "$@"
