# shellcheck shell=bash
# Sourced by quickstart.sh and test.sh, for make_venv. Goes to the checkout; sets $root and $python.
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$root" || exit
python=$root/.venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1

fail() { echo "$(basename "$0"): $1" >&2; exit 1; }

#   make_venv [EXTRAS]
# Makes .venv with $PYTHON, or python3, and installs this package; one that was made here, from the same
# pyproject.toml and constraints.txt, is used as it is.
make_venv() {
  local extras=${1:-} stamp=.venv/installed base=${PYTHON:-python3} wanted have
  wanted="$extras $root $(cat pyproject.toml constraints.txt | cksum)"
  have=$(cat "$stamp" 2> /dev/null || true)
  # an environment with extras also serves a script that needs none
  if [ "$have" = "$wanted" ] || { [ -z "$extras" ] && [ "${have#* }" = "${wanted#* }" ]; }; then
    ! "$python" -c '' 2> /dev/null || return 0 # else its own python3 is gone
  fi
  command -v "$base" > /dev/null || fail "needs $base, 3.11 or newer"
  "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null ||
    fail "needs Python 3.11 or newer; $base is $("$base" --version 2>&1 | head -n 1); set PYTHON to another"
  echo "Installing into $root/.venv (a minute or more the first time)" >&2
  "$base" -m venv .venv > /dev/null ||
    fail "$base cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv"
  "$python" -m pip install --quiet --constraint constraints.txt --editable ".${extras:+[$extras]}" ||
    fail "pip could not install the package, as said above"
  echo "$wanted" > "$stamp"
}
