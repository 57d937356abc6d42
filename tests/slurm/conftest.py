"""One cluster for the tests of a process; a home that its nodes share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.slurm_cluster import Cluster, missing


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    why = missing()
    if why and "CI" in os.environ:
        pytest.fail(f"CI must run the tests on SLURM: {why}")
    if why:
        pytest.skip(f"no SLURM cluster can be set up here: {why}")
    with Cluster(f"cofi-{os.getpid()}") as up:
        yield up


@pytest.fixture(autouse=True)
def _all_nodes_are_there(request: pytest.FixtureRequest) -> None:
    """Whatever the last test did to them."""
    if "cluster" in request.fixturenames:
        request.getfixturevalue("cluster").revive()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which jobs are submitted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path
