#!/usr/bin/env bash
# One node, a rank a GPU; without GPUs, as many one-thread ranks as there are cores.
#   [RANKS=N] bash launch/torchrun.sh --config configs/ml-latest-small.yaml [KEY=VALUE ...]
set -euo pipefail
PYTHON=${PYTHON:-python3} # of the environment that cofi_dist is installed in
if [ -z "${RANKS:-}" ]; then
  RANKS=$(nvidia-smi --list-gpus 2> /dev/null | wc -l)
  [ "$RANKS" -gt 0 ] || RANKS=$(nproc)
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$PYTHON" -m torch.distributed.run --standalone --nproc-per-node="$RANKS" \
  -m cofi_dist train "$@"
