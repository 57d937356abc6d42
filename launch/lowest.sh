#!/usr/bin/env bash
# The lowest versions that pyproject.toml allows: installs them into .venv-lowest, and runs the quick part of the
# tests there: the tests of the folders that call other packages, without those that are slow.
#   [PYTHON=python3.11] [UV_TORCH_BACKEND=cpu] bash launch/lowest.sh [PYTEST OPTIONS]
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/_venv.sh"
venv=.venv-lowest
"${PYTHON:-python3}" -m venv --clear $venv > /dev/null
$venv/bin/python -m pip install --quiet --constraint constraints.txt uv
# torch of PyPI comes with CUDA; UV_TORCH_BACKEND=cpu lets uv take the one without from PyTorch's own index
$venv/bin/uv pip install --quiet --python $venv/bin/python --resolution lowest-direct --editable ".[all,test]"
$venv/bin/uv pip list --quiet --python $venv/bin/python --exclude-editable
# Old packages warn of what newer ones beside them have dropped; the whole suite holds that the tested versions do not.
quick=(cli config data distributed explore fitting model report sklearn trackers training tuning)
OMP_NUM_THREADS=1 exec $venv/bin/python -m pytest -n auto --dist worksteal -W default -m "not slow" \
  "${quick[@]/#/tests/}" "$@"
