"""Fixtures shared by all tests, and the surroundings in which every test runs."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# a loaded machine is no reason to fail; the tests have their own time limit
settings.register_profile("cofi_dist", deadline=None)
settings.load_profile("cofi_dist")

torch.set_num_threads(1)

# What the shell that starts the tests may have: another job's variables, another width of the terminal.
LEFT_OVER = re.compile(
    r"(RANK|WORLD_SIZE|LOCAL_.*|GROUP_.*|ROLE_.*|MASTER_.*|TORCHELASTIC_.*|SLURM_.*|NUMBA_(?!CACHE_DIR).*|COLUMNS|LINES|NO_COLOR"
    r"|FORCE_COLOR)"
)
SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def pytest_configure() -> None:
    """Make the surroundings the same wherever the tests are started from; children inherit them."""
    for name in filter(LEFT_OVER.fullmatch, list(os.environ)):
        del os.environ[name]
    # nohup ignores SIGHUP, a background job of a script SIGINT
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_signal_handlers() -> Iterator[None]:
    """Restore the handlers that a command, run in the process of the tests, has set."""
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGINT)}
    hook = sys.unraisablehook
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    sys.unraisablehook = hook


# Triton's kernels are interpreted where there is no device to compile them for
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))
        if item.get_closest_marker("data") and not _movielens():
            item.add_marker(pytest.mark.skip(reason="COFI_DIST_DATA names no folder with ml-latest-small"))
    # each worker takes an equal part of the list: give all of them long tests, and those first; those of one
    # file go to one worker, so that what they share is made once
    slow = [item for item in items if item.get_closest_marker("slow")]
    files = list(dict.fromkeys(item.path for item in slow))
    rest = [item for item in items if not item.get_closest_marker("slow")]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    cuts = [len(rest) * k // workers for k in range(workers + 1)]
    items[:] = [
        item
        for k, (start, stop) in enumerate(pairwise(cuts))
        for item in (*(each for each in slow if files.index(each.path) % workers == k), *rest[start:stop])
    ]


@pytest.fixture(scope="session")
def movielens() -> Path:
    """ratings.csv of ml-latest-small; its users carry the marker `data`."""
    path = _movielens()
    assert path, "mark the test with pytest.mark.data"
    return path


def _movielens() -> Path | None:
    path = Path(os.environ.get("COFI_DIST_DATA", "/nowhere")) / "ml-latest-small" / "ratings.csv"
    return path if path.is_file() else None
