#!/usr/bin/env bash
# One process on this machine's GPU, or on its CPU where there is none.
#   bash launch/single.sh --config configs/notebook.yaml [KEY=VALUE ...]
set -euo pipefail
PYTHON=${PYTHON:-python3} # of the environment that cofi_dist is installed in
exec "$PYTHON" -m cofi_dist train "$@"
