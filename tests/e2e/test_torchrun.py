"""Real torchrun: rank 0 alone speaks, mistakes are said once, a rank that dies ends the job."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cofi_dist.model import Model


def torchrun(ranks: int, *args: object) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    return [*launcher, "-m", "cofi_dist", *map(str, args)]


def run(ranks: int, *args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = torchrun(ranks, *args)
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env, check=False, timeout=250)


def test_three_ranks_speak_as_one(here: Path) -> None:
    done = run(3, "train", "--config", "tiny.yaml", cwd=here)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 9
    assert done.stdout.count("Using cpu device") == 1
    assert done.stderr.count("world size 3, backend gloo") == 1
    model = Model.load(here / "runs/tiny/model")
    assert model.factors.W.shape == (30, 4)


def test_sharded_items_learn_the_same_and_are_gone_on_with(here: Path) -> None:
    sharded = ["train.items=sharded", "train.item_block=9", "checkpoint={every: 10, resume: auto}"]
    given = ["train", "--config", "tiny.yaml", "train.dtype=float64"]
    for epochs in (10, 20):
        done = run(2, *given, *sharded, f"train.epochs={epochs}", "run_dir=a", cwd=here)
        assert done.returncode == 0, done.stderr
    assert run(2, *given, "run_dir=b", cwd=here).returncode == 0
    ours, theirs = (read_metrics(here / name / "metrics.jsonl") for name in "ab")
    assert ours == pytest.approx(theirs, rel=1e-10)
    shards = json.loads((here / "a" / "shards.json").read_text())
    assert (shards["item_block"], shards["owned_items"]) == (9, [22, 18])


def read_metrics(file: Path) -> dict[int, float]:
    """The costs, by epoch."""
    lines = map(json.loads, file.read_text().splitlines())
    return {line["epoch"]: line["cost"] for line in lines if "cost" in line}


def test_one_rank_is_the_same_as_no_torchrun(here: Path) -> None:
    done = run(1, "train", "--config", "tiny.yaml", "run_dir=a", cwd=here)
    plain = [sys.executable, "-m", "cofi_dist", "train", "--config", "tiny.yaml", "run_dir=b"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    alone = subprocess.run(plain, cwd=here, capture_output=True, text=True, check=True, env=env, timeout=250)
    assert done.stdout == alone.stdout


def test_a_users_mistake_is_said_once_and_first(here: Path) -> None:
    done = run(3, "train", "--config", "tiny.yaml", "train.epoch=3", cwd=here)
    assert done.returncode == 1  # torchrun's own, whatever its workers say
    said = [line for line in done.stderr.splitlines() if line.startswith("cofi-dist: ")]
    assert len(said) == 1
    assert said[0].startswith(
        "cofi-dist: tiny.yaml (override): train.epoch: unknown key; there are epochs, lr,"
    )
    assert done.stderr.index(said[0]) < done.stderr.index("Traceback"), "torchrun's own comes after"
    assert "traceback : tiny.yaml (override): train.epoch: unknown key" in done.stderr, (
        "torchrun repeats it as root cause"
    )
    assert "rank.py" not in done.stderr
    assert not (here / "runs").exists()


def test_bad_arrays_are_said_once_and_leave_nothing_behind(here: Path) -> None:
    R = np.ones((4, 30))
    Y = np.zeros((4, 30))
    Y[2, 29] = np.nan  # of the last rank's users
    np.save(here / "Y.npy", Y)
    np.save(here / "R.npy", R)
    done = run(3, "train", "--config", "tiny.yaml", "data={y: Y.npy, r: R.npy}", cwd=here)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("cofi-dist: ")]
    assert said == ["cofi-dist: Y.npy: [2, 29] is nan, but R says it is known"]
    assert not (here / "runs").exists()


FAILING = """
import os
import cofi_dist.training.build
import cofi_dist.training.problem
from cofi_dist.cli.main import main
from cofi_dist.errors import DataError

def fail(*args, **kwargs):
    raise {error}

if os.environ["RANK"] == "2":
    cofi_dist.training.{where} = fail
main()
"""


@pytest.mark.parametrize("where", ["problem.item_offsets", "build.draw_factors"])
@pytest.mark.parametrize("error", ["DataError('the disk is gone')", "KeyError('a bug')"])
def test_a_rank_that_raises_takes_the_job_down(where: str, error: str, here: Path) -> None:
    (here / "failing.py").write_text(FAILING.format(where=where, error=error))
    launcher = torchrun(3, "train", "--config", "tiny.yaml")
    command = [
        *launcher[: launcher.index("-m", 3)],
        "failing.py",
        *launcher[launcher.index("cofi_dist") + 1 :],
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    done = subprocess.run(
        command, cwd=here, capture_output=True, text=True, env=env, check=False, timeout=250
    )
    assert time.monotonic() - start < 100, "far below train.timeout"
    assert done.returncode == 1
    ours = [line for line in done.stderr.splitlines() if line.startswith("cofi-dist: rank ")]
    if error.startswith("DataError"):
        assert ours[0] == "cofi-dist: rank 2: the disk is gone"
        assert "cofi_dist/run/train.py" not in done.stderr, "no traceback of ours"
    else:
        assert "KeyError: 'a bug'" in done.stderr, "a bug shows its traceback, once"
        assert done.stderr.count("in fail") == 1


def test_a_killed_rank_ends_the_job_within_seconds(here: Path) -> None:
    command = torchrun(2, "train", "--config", "tiny.yaml", "train.epochs=1000000", "train.log_every=100")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as job:
        assert job.stdout is not None
        while not job.stdout.readline().startswith("  100 "):
            pass
        children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
        victim = max(int(pid) for pid in children)
        os.kill(victim, signal.SIGKILL)
        start = time.monotonic()
        _, err = job.communicate(timeout=60)
        assert time.monotonic() - start < 50, "far below train.timeout"
    assert job.returncode == 1
    assert "cofi_dist/run/train.py" not in err, "the survivor shows no traceback"
    assert not (here / "runs/tiny/model").exists()
