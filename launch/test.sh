#!/usr/bin/env bash
# The whole test suite: format, lint, types, tests. Sets up .venv itself.
#   bash launch/test.sh [PYTEST OPTIONS]
# COFI_DIST_DATA names a folder that holds ml-latest-small; without it some tests are skipped.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/_venv.sh"
make_venv dev
"$python" -m ruff format --check .
"$python" -m ruff check .
"$python" -m mypy
# one thread a process; three processes keep two cores busy, because tests often wait, for a cluster or a timeout
OMP_NUM_THREADS=1 exec "$python" -m pytest -n 3 --dist worksteal "$@"
