# shellcheck shell=bash
# Sourced by single.sh, torchrun.sh and multinode.sh: sets $PYTHON, which has cofi_dist. It may be set
# already; else it is the active environment's, that in .venv, or python3: the first that has it.
fail() { echo "$(basename "$0"): $1" >&2; exit 1; }

# whether a variable holds a whole number, 1 or more
require_number() { [[ ${!1} =~ ^[1-9][0-9]{0,8}$ ]] || fail "$1=${!1}: must be a whole number, 1 or more"; }

# how many CUDA devices torch sees, or $1 where it sees none
devices_or() {
  "$PYTHON" -c 'import sys, torch; print(torch.cuda.device_count() or sys.argv[1])' "$1"
}

# how many cores this process may run on
cores() {
  "$PYTHON" -c '
import os
print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)'
}

_has_cofi_dist='
import importlib.util as util, sys
sys.exit(not all(map(util.find_spec, ("torch", "typer", "cofi_dist"))))'
_root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
if [ -n "${PYTHON:-}" ]; then
  "$PYTHON" -c "$_has_cofi_dist" || fail "PYTHON=$PYTHON: does not have cofi_dist; name one that has, or unset it"
else
  for PYTHON in "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" "$_root/.venv/bin/python" python3 ''; do
    [ -z "$PYTHON" ] || ! "$PYTHON" -c "$_has_cofi_dist" 2> /dev/null || break
  done
  [ -n "$PYTHON" ] ||
    fail "no Python here has cofi_dist: activate its environment, set PYTHON, or let launch/quickstart.sh make .venv"
fi
