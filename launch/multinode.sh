#!/usr/bin/env bash
# Several nodes without SLURM: run this on every one of them, with the same HEAD, NNODES and
# arguments. The run directory must lie on a file system that all nodes share. Where two jobs share
# HEAD and PORT, each needs an RDZV_ID of its own, the same on all of its nodes. Where others can reach
# the nodes, give all of them the same secret COFI_DIST_TOKEN: see docs/distributed.md. On GPUs, nccl carries
# the sums between the nodes; NCCL_SOCKET_IFNAME=eth0 names its network card, if it finds a wrong one.
#   HEAD=node1 NNODES=2 [PORT=29500] [RANKS=N] [RDZV_ID=cofi_dist] [PYTHON=python] \
#     bash launch/multinode.sh --config FILE [KEY=VALUE ...]
set -euo pipefail
: "${HEAD:?the host that the nodes meet at, one of them}"
: "${NNODES:?how many nodes there are}"
. "$(dirname -- "${BASH_SOURCE[0]}")/_python.sh"
PORT=${PORT:-29500}
RANKS=${RANKS:-$(devices_or 1)} # on this node
for name in NNODES PORT RANKS; do require_number "$name"; done
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$PYTHON" -m torch.distributed.run --nnodes="$NNODES" --nproc-per-node="$RANKS" \
  --rdzv-backend=c10d --rdzv-endpoint="$HEAD:$PORT" --rdzv-id="${RDZV_ID:-cofi_dist}" \
  -m cofi_dist train "$@"
