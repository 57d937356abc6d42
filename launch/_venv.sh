# Sourced by quickstart.sh and test.sh: makes .venv, installs this package, sets $python.
#   . launch/_venv.sh [EXTRAS]
# A venv that was made from the same pyproject.toml and constraints.txt is used as it is.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
python=$root/.venv/bin/python
extras=${1:-}
export PIP_DISABLE_PIP_VERSION_CHECK=1

fail() { echo "$(basename "$0"): $1" >&2; exit 1; }

command -v python3 > /dev/null || fail "needs python3, 3.11 or newer"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "needs Python 3.11 or newer; python3 is $(python3 --version 2>&1)"

stamp=.venv/installed
wanted="$extras $(cat pyproject.toml constraints.txt | cksum)"
# an environment with extras also serves a script that needs none
have=$(cat "$stamp" 2> /dev/null || true)
if [ "$have" != "$wanted" ] && { [ -n "$extras" ] || [ "${have#* }" != "${wanted#* }" ]; }; then
  echo "Installing into $root/.venv (a minute or more the first time)" >&2
  python3 -m venv .venv > /dev/null ||
    fail "python3 cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv"
  "$python" -m pip install --quiet --constraint constraints.txt --editable ".${extras:+[$extras]}"
  echo "$wanted" > "$stamp"
fi
