#!/usr/bin/env bash
# One process on this machine's GPU, or on its CPU where there is none.
#   [PYTHON=python] bash launch/single.sh --config configs/notebook.yaml [KEY=VALUE ...]
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/_python.sh"
exec "$PYTHON" -m cofi_dist train "$@"
