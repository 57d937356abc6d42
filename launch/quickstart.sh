#!/usr/bin/env bash
# From nothing to a trained model: sets up .venv, then trains on made-up ratings for half a minute.
#   bash launch/quickstart.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_venv.sh"
replace=
[ $# -gt 0 ] || replace=--replace # its own run directory, and no other
"$python" -m cofi_dist train --config configs/quickstart.yaml $replace "$@"
echo "First, in $root: . .venv/bin/activate" >&2
