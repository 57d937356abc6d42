#!/usr/bin/env bash
# From nothing to a trained model: sets up .venv, then trains on made-up ratings for half a minute.
#   bash launch/quickstart.sh [KEY=VALUE ...]
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/_venv.sh"
make_venv
[ $# -gt 0 ] || set -- --replace # its own run directory, and no other
"$python" -m cofi_dist quickstart "$@"
echo "First, in $root: . .venv/bin/activate" >&2
