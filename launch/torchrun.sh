#!/usr/bin/env bash
# One node, a rank a GPU; without GPUs, as many one-thread ranks as there are cores. With more RANKS than GPUs,
# some share one: gloo carries their sums in place of nccl, which is slower.
#   [RANKS=N] [PYTHON=python] bash launch/torchrun.sh --config configs/ml-latest-small.yaml [KEY=VALUE ...]
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/_python.sh"
RANKS=${RANKS:-$(devices_or "$(cores)")}
require_number RANKS
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# the ranks take nobody for one of them who doesn't hold it
: "${COFI_DIST_TOKEN:=$("$PYTHON" -c 'import secrets; print(secrets.token_hex(16))')}"
export COFI_DIST_TOKEN
exec "$PYTHON" -m torch.distributed.run --standalone --nproc-per-node="$RANKS" \
  -m cofi_dist train "$@"
