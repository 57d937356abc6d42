#!/usr/bin/env bash
# On a machine with one CUDA device, PyTorch 2.11 and Python 3.12: the tests marked gpu, then
# benchmarks.gpu, and benchmarks.evaluate and benchmarks.lists (beside implicit, if it is installed) of a
# smaller size; under a quarter of an hour. What the package needs and is missing is installed, if there is a network; what is installed
# already, torch above all, stays as it is.
#   bash benchmarks/gpu.sh [OPTIONS OF benchmarks.gpu]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PIP_DISABLE_PIP_VERSION_CHECK=1

# prints those of the given packages (MODULE or MODULE=PACKAGE) that can't be imported
missing() {
  "$python" -c '
import importlib.util, sys
pairs = [name.partition("=") for name in sys.argv[1:]]
print(*(package or module for module, _, package in pairs if importlib.util.find_spec(module) is None))' "$@"
}

measuring=(torch numpy numba psutil)
testing=(yaml=pyyaml pydantic polars typer rich safetensors xxhash pytest pytest_timeout=pytest-timeout hypothesis)
wanted=$(missing "${measuring[@]}" "${testing[@]}")
if [ -n "$wanted" ] && [[ " $wanted " != *" torch "* ]]; then
  kept=$(mktemp)
  trap 'rm -f "$kept"' EXIT
  "$python" -m pip list --format=freeze > "$kept" 2> /dev/null || true
  # shellcheck disable=SC2086
  timeout 100 "$python" -m pip install --quiet --timeout 5 --retries 1 --constraint "$kept" $wanted ||
    echo "gpu.sh: pip could not install $wanted" >&2
fi

lacks=$(missing "${measuring[@]}")
if [ -n "$lacks" ]; then
  echo "gpu.sh: nothing can be measured without $lacks" >&2
  exit 2
fi
lacks=$(missing "${testing[@]}")
status=0
if [ -n "$lacks" ]; then
  echo "gpu.sh: tests left out, without $lacks"
else
  timeout 130 "$python" -m pytest tests/gpu/test_cuda.py tests/ranking -m gpu -q || status=$?
  # several ranks on the one device, and nccl where there are two
  timeout 240 "$python" -m pytest tests/gpu/test_cuda_ranks.py -m gpu -q || status=$?
fi
timeout 350 "$python" -m benchmarks.gpu --seconds 280 "$@" || status=$?
if [ -n "$lacks" ]; then
  echo "gpu.sh: lists and evaluation left out, without $lacks"
  exit $status
fi
timeout 60 "$python" -m benchmarks.evaluate --ratings 4000000 --users 28000 --repeats 3 || status=$?
lacks=$(missing implicit scipy)
if [ -n "$lacks" ]; then
  echo "gpu.sh: lists beside implicit's left out, without $lacks"
else
  timeout 60 "$python" -m benchmarks.lists --repeats 1 || status=$?
fi
exit $status
