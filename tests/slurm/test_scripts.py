"""The scripts in slurm/, on a real cluster of two nodes."""

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from cofi_dist.checkpoint.manifest import list_checkpoints
from tests.e2e.test_cli import cofi
from tests.support.runs import metrics, tensors
from tests.support.slurm_cluster import ENDED, Cluster

SCRIPTS = Path(__file__).parents[2] / "slurm"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

EPOCHS = 3000


def config(epochs: int = EPOCHS) -> str:
    return f"""
data: {{synthetic: {{num_users: 400, num_items: 500, num_ratings: 20000}}, validation: {{}}}}
model: {{num_features: 16, item_bias: true}}
train: {{epochs: {epochs}, log_every: 100, lr: 0.001, dtype: float64}}
validation: {{every: 100}}
checkpoint: {{every: 500}}
"""


def submit(
    cluster: Cluster, home: Path, script: str, *args: str, options: Sequence[str] = (), **env: str
) -> int:
    """Submit a script of ours, with a config c.yaml and a run directory `run`; return its job."""
    if not (home / "c.yaml").exists():
        (home / "c.yaml").write_text(config())
    run_dir = [] if any(arg.startswith("run_dir=") for arg in args) else [f"run_dir={home / 'run'}"]
    given = ["--config", str(home / "c.yaml"), *run_dir, *args]
    return cluster.submit(SCRIPTS / script, *given, options=("--cpus-per-task=1", *options), env=env)


def output(home: Path, job: int) -> str:
    return (home / f"cofi_dist-{job}.out").read_text()


def wait_for_epoch(home: Path, epoch: int, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not (home / "run/metrics.jsonl").exists() or not any(
        line["epoch"] >= epoch for line in metrics(home / "run")
    ):
        assert time.monotonic() < deadline, f"epoch {epoch} was not reached"
        time.sleep(0.1)


def require_the_same(home: Path, whole: Path) -> None:
    assert metrics(home / "run") == metrics(whole)
    got, want = tensors(home / "run"), tensors(whole)
    assert all(torch.equal(got[name], want[name]) for name in want)


@pytest.fixture(scope="module")
def whole(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an undisturbed run on two nodes; this is the test of train.sbatch too."""
    home = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        job = submit(cluster, home, "train.sbatch")
    ended = cluster.wait(job, seconds=200)
    said = output(home, job)
    assert ended["JobState"] == "COMPLETED", said
    assert f"job {job} on node[1-2]: 1 ranks per node, meeting at node1:" in said
    assert "world size 2, backend gloo" in said
    assert metrics(home / "run")[-1]["epoch"] == EPOCHS
    return home / "run"


def test_a_job_is_requeued_before_its_time_is_up(cluster: Cluster, home: Path) -> None:
    (home / "c.yaml").write_text(config(epochs=100_000))
    options = ["--time=1", "--signal=B:USR1@40"]
    job = submit(cluster, home, "train_requeue.sbatch", options=options, SAVE_SECONDS="15")
    for _ in range(2):
        cluster.wait(job, "RUNNING", seconds=60)
        cluster.wait(job, "PENDING", *ENDED, seconds=100)
    # however fast the machine is: two slices and a little more
    enough = int(list_checkpoints(home / "run/checkpoints")[0].name.removeprefix("epoch-")) + 300
    (home / "c.yaml").write_text(config(enough))
    ended = cluster.wait(job, seconds=200)
    said = output(home, job)
    assert ended["JobState"] == "COMPLETED", said
    assert int(ended["Restarts"]) >= 2, said
    assert said.count("by SIGUSR1; the state is saved") >= 1, said
    assert said.count("requeueing the job") == int(ended["Restarts"]), said
    undisturbed = submit(cluster, home, "train.sbatch", f"run_dir={home / 'whole'}")
    assert cluster.wait(undisturbed, seconds=200)["JobState"] == "COMPLETED", output(home, undisturbed)
    require_the_same(home, home / "whole")


def test_a_job_is_requeued_only_so_often(cluster: Cluster, home: Path) -> None:
    (home / "c.yaml").write_text(config(epochs=100_000))
    job = submit(cluster, home, "train_requeue.sbatch", MAX_REQUEUES="0")
    wait_for_epoch(home, 100)
    assert cluster.client("scancel", "--batch", "--signal=USR1", str(job)).returncode == 0
    ended = cluster.wait(job, seconds=90)
    assert (ended["JobState"], ended["Restarts"]) == ("FAILED", "0")
    said = output(home, job)
    assert "by SIGUSR1; the state is saved" in said
    assert "requeued 0 times already; submit it again, or raise MAX_REQUEUES" in said


def test_a_job_that_is_preempted_comes_back(cluster: Cluster, home: Path, whole: Path) -> None:
    job = submit(cluster, home, "train_requeue.sbatch", options=["--partition=low"])
    wait_for_epoch(home, 100)
    (home / "urgent").write_text("#!/bin/sh\nsleep 2\n")
    urgent = cluster.submit(home / "urgent", options=["--partition=high", "--nodes=2", "--exclusive"])
    assert cluster.wait(urgent, seconds=60)["JobState"] == "COMPLETED"
    ended = cluster.wait(job, seconds=200)
    said = output(home, job)
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), said
    assert "by SIGTERM; the state is saved" in said
    require_the_same(home, whole)


def test_a_job_whose_node_lost_power_comes_back(cluster: Cluster, home: Path, whole: Path) -> None:
    job = submit(cluster, home, "train_requeue.sbatch")
    wait_for_epoch(home, 1000)
    cluster.cut_power(2)
    cluster.wait(job, "PENDING", seconds=90)
    cluster.power_on(2)
    ended = cluster.wait(job, seconds=200)
    said = output(home, job)
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), said
    assert "gone on with from" in said
    require_the_same(home, whole)


def test_a_cancelled_job_leaves_a_checkpoint(cluster: Cluster, home: Path, whole: Path) -> None:
    for script in ("train.sbatch", "train_requeue.sbatch"):
        reached = len(metrics(home / "run")) * 100 if (home / "run").exists() else 0
        job = submit(cluster, home, script, "checkpoint.resume=auto")
        wait_for_epoch(home, reached + 100)
        assert cluster.client("scancel", str(job)).returncode == 0
        ended = cluster.wait(job, seconds=60)
        assert ended["JobState"] == "CANCELLED"
        said = output(home, job)
        saved = re.findall(r"stopped after epoch (\d+) by SIGTERM; the state is saved", said)
        assert len(saved) == 1, said
        assert list_checkpoints(home / "run/checkpoints")[0].name.startswith(f"epoch-{int(saved[0]):08}"), (
            said
        )
    job = submit(cluster, home, "train.sbatch", "checkpoint.resume=auto")
    assert cluster.wait(job, seconds=200)["JobState"] == "COMPLETED", output(home, job)
    require_the_same(home, whole)


def test_a_sweep_over_three_lambdas(cluster: Cluster, home: Path) -> None:
    (home / "c.yaml").write_text(config())
    given = [
        "--config",
        "c.yaml",
        "--output",
        "sweep",
        "--grid",
        "train.lambda_=0.1,1,10",
        "train.epochs=300",
    ]
    options = ["--array=0-2", "--cpus-per-task=1"]
    job = cluster.submit(SCRIPTS / "sweep.sbatch", *given, options=options)
    for task in range(3):
        ended = cluster.wait(f"{job}_{task}", seconds=90)
        assert ended["JobState"] == "COMPLETED", (home / f"cofi_sweep-{job}_{task}.out").read_text()
    table = cofi("tune", *given, "--table", cwd=home)
    assert "3 of 3 points are done" in table.stderr


def test_a_search_on_two_nodes_is_submitted_again_after_a_power_cut(cluster: Cluster, home: Path) -> None:
    pytest.importorskip("optuna")
    (home / "c.yaml").write_text(config(2000).replace("every: 500", "every: 100"))
    space = ["--space", "train.lambda_=log:0.1:100", "--space", "model.num_features=8,16", "--trials", "8"]
    given = ["--config", "c.yaml", "--output", "search", *space]
    options = ["--array=0-1", "--cpus-per-task=1", "--exclusive"]
    job = cluster.submit(SCRIPTS / "sweep.sbatch", *given, options=options)
    deadline = time.monotonic() + 120
    while len(list(home.glob("search/trial-*/checkpoints/epoch-*"))) < 2:
        assert time.monotonic() < deadline, "no trial has begun"
        time.sleep(0.1)
    cluster.cut_power(2)
    cluster.power_on(2)
    for task in range(2):
        cluster.wait(f"{job}_{task}", "PENDING", *ENDED, seconds=200)
    cluster.client("scancel", str(job))
    again = cluster.submit(SCRIPTS / "sweep.sbatch", *given, options=options)
    for task in range(2):
        ended = cluster.wait(f"{again}_{task}", seconds=200)
        assert ended["JobState"] == "COMPLETED", (home / f"cofi_sweep-{again}_{task}.out").read_text()
    table = cofi("tune", *given[:-2], "--table", cwd=home)
    assert table.stderr.splitlines()[-1].startswith("8 trials: "), table.stderr
    assert "unfinished" not in table.stderr
    for run in home.glob("search/trial-*"):
        printed = [line["epoch"] for line in metrics(run) if "cost" in line]
        assert printed == [1, *range(100, printed[-1] + 1, 100)], f"{run}: each epoch was trained once"


def test_a_written_script_trains_until_the_deadline(cluster: Cluster, home: Path) -> None:
    (home / "c.yaml").write_text(config())
    program = [sys.executable, "-m", "cofi_dist", "slurm", "--config", "c.yaml", "--nodes", "2"]
    given = ["--time", "1", "--option=--partition=high", "train.deadline=-40", "train.epochs=1000000"]
    written = cluster.client(*program, *given, "run_dir=run")
    assert written.returncode == 0, written.stderr
    assert "SLURM says: Job" in written.stdout
    assert written.stdout.endswith("\nto submit it: sbatch c.sbatch\n")
    job = cluster.submit(home / "c.sbatch", env={"SBATCH_GPUS_PER_NODE": "1"})
    ended = cluster.wait(job, seconds=90)
    said = output(home, job)
    assert ended["JobState"] == "FAILED", "torchrun's own exit code, whatever its ranks say"
    assert "by train.deadline; the state is saved" in said
    assert said.count("world size 2") == 1, "asked to stop, ranks are not started again"
    refused = cluster.client(
        *program, "--option=--partition=none", "--output=other", "--time=1", "run_dir=run"
    )
    assert refused.returncode == 2
    assert "other: SLURM would refuse it: invalid partition specified: none" in refused.stderr
    assert not (home / "other").exists()
