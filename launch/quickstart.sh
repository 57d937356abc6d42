#!/usr/bin/env bash
# From nothing to a trained model: sets up .venv, then trains on made-up ratings for half a minute.
#   bash launch/quickstart.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_venv.sh"
# into the shell's PATH, so that the command it ends with can be pasted
"$python" -m cofi_dist train --config configs/quickstart.yaml --replace "$@"
echo "(cofi-dist is in $root/.venv/bin: run \`. .venv/bin/activate\` in $root first.)" >&2
