"""`torchrun --nnodes=1:2` on two hosts, one of which is lost: the other goes on alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cofi_dist.report.compare import compare
from tests.e2e.test_cli import cofi
from tests.support.runs import metrics
from tests.support.slurm_cluster import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

CONFIG = """
data: {synthetic: {num_users: 400, num_items: 500, num_ratings: 20000}, validation: {}}
model: {num_features: 16, item_bias: true}
train: {epochs: 2500, log_every: 100, lr: 0.001, dtype: float64, timeout: 8, reduction: invariant}
validation: {every: 100}
checkpoint: {every: 200, resume: auto}
"""
TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run", "--nnodes=1:2", "--nproc-per-node=1"),
    *("--max-restarts=3", "--rdzv-backend=c10d", "--rdzv-endpoint=node1:20100", "--rdzv-id=x"),
    # how long whoever is there waits for others, and after how long a node that is silent is taken for lost
    "--rdzv-conf=last_call_timeout=5,keep_alive_interval=1,keep_alive_max_attempt=5",
]
TRAIN = ["train", "--config", "c.yaml"]


def kill_agent(cluster: Cluster, agent: subprocess.Popen[bytes]) -> None:
    """SIGKILL of torchrun on node2; its rank stays."""
    os.kill(_inside(agent)[0], signal.SIGKILL)


LOSSES: dict[str, Callable[[Cluster, subprocess.Popen[bytes]], None]] = {
    "power cut": lambda cluster, _: cluster.cut_power(2),
    "cable pulled": lambda cluster, _: cluster.unplug(2),
    "torchrun killed": kill_agent,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process that nothing happened to."""
    home = tmp_path_factory.mktemp("whole")
    (home / "c.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        assert cofi(*TRAIN, cwd=home).returncode == 0
    return home / "runs/c"


@pytest.mark.parametrize("loss", LOSSES)
def test_the_node_that_is_left_goes_on(loss: str, cluster: Cluster, home: Path, whole: Path) -> None:
    (home / "c.yaml").write_text(CONFIG)
    command = [*TORCHRUN, "-m", "cofi_dist", *TRAIN]
    run_dir, deadline = home / "runs/c", time.monotonic() + 90
    one, two = (cluster.on(n, *command, output=home / f"out{n}") for n in (1, 2))
    try:
        while not any(line["epoch"] >= 500 for line in _metrics(run_dir)):
            assert time.monotonic() < deadline, (home / "out1").read_text()[-2000:]
            time.sleep(0.1)
        LOSSES[loss](cluster, two)
        assert one.wait(timeout=250) == 0, (home / "out1").read_text()[-3000:]
    finally:
        for agent in (one, two):
            _end(agent)
        _mend(loss, cluster)
    said = (home / "out1").read_text()
    if loss == "torchrun killed":
        assert "by the end of its launcher; the state is saved" in said
    else:
        assert "lost contact with rank 1" in said
    assert "world size 2, backend gloo" in said
    assert "world size 1, backend none" in said, "the second start has one rank"
    assert "gone on with from" in said
    assert [each for each in compare(run_dir, whole) if not each.bit_identical] == [], (
        "two ranks, then one: the same bits"
    )


def _metrics(run_dir: Path) -> list[dict[str, float]]:
    return metrics(run_dir) if (run_dir / "metrics.jsonl").exists() else []


def _inside(command: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes that `cluster.on` has started there."""
    if command.poll() is not None:
        return []
    return [int(pid) for pid in Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()]


def _end(agent: subprocess.Popen[bytes]) -> None:
    for pid in _inside(agent):
        os.kill(pid, signal.SIGKILL)
    agent.wait()


def _mend(loss: str, cluster: Cluster) -> None:
    """For the tests that follow."""
    if loss == "power cut":
        cluster.power_on(2)
    if loss == "cable pulled":
        cluster.plug_in(2)
