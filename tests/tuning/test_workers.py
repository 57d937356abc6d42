"""Workers of one search as processes: at once, killed, and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cofi_dist.distributed.comm import SoloComm
from cofi_dist.tuning.trials import findings
from tests.tuning.searches import epochs, results, searched

pytest.importorskip("optuna")

# a trial takes about a second, so that a worker is killed within one
OVERRIDES = ["validation.every=100", "train.log_every=100", "checkpoint.every=100"]
TRIALS = 9


@contextmanager
def worker(home: Path, num_epochs: int = 1500) -> Iterator[subprocess.Popen[str]]:
    """Start a worker of the search, which is ended with the context at the latest."""
    words = ["--space", "train.lambda_=log:0.1:100", "--space", "model.num_features=2,4"]
    command = [sys.executable, "-m", "cofi_dist", "tune", "--config", "c.yaml", "--output", "out", *words]
    with subprocess.Popen(
        [*command, "--trials", str(TRIALS), *OVERRIDES, f"train.epochs={num_epochs}"],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_epoch(home: Path, pid: int, epoch: int) -> Path:
    """Wait until a worker has come so far in a trial that is not its last, and return that run."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for lock in home.glob("out/trial-*/.lock"):
            run = lock.parent
            try:
                is_mine = json.loads(lock.read_text())["pid"] == pid
                if is_mine and epochs(run)[-1] >= epoch and any(run.glob("checkpoints/epoch-*")):
                    return run
            except (OSError, ValueError, IndexError):
                continue
        time.sleep(0.01)
    raise AssertionError("the worker trains nothing")


def test_two_workers_share_the_trials_and_a_killed_ones_is_gone_on_with(tmp_path: Path) -> None:
    searched(tmp_path)
    space = ["train.lambda_=log:0.1:100", "model.num_features=2,4"]
    search = searched(tmp_path, *OVERRIDES, "train.epochs=1500", space=space)
    with worker(tmp_path) as first, worker(tmp_path) as second:
        broken = wait_for_epoch(tmp_path, first.pid, 300)
        first.send_signal(signal.SIGSTOP)
        while epochs(broken)[-1] == 1500:  # the trial went faster than this test looked at it
            first.send_signal(signal.SIGCONT)
            broken = wait_for_epoch(tmp_path, first.pid, 300)
            first.send_signal(signal.SIGSTOP)
        first.send_signal(signal.SIGKILL)
        _, said = second.communicate(timeout=300)
        assert second.returncode == 0, said
    with worker(tmp_path) as third:
        _, said = third.communicate(timeout=120)
        assert third.returncode == 0, said
        assert said.count("\ntrial ") + said.startswith("trial ") == 0, "nothing was left to train"
        assert f"{TRIALS} trials: " in said
    names = [f"trial-{number:04}" for number in range(TRIALS)]
    assert sorted(path.name for path in tmp_path.glob("out/trial-*")) == names
    assert list(results(search)) == names
    for name, result in results(search).items():
        run = tmp_path / "out" / name
        last = 1500 if not result.get("pruned") else int(result["pruned"].split(":")[0].split()[-1])
        assert epochs(run) == [1, *range(100, last + 1, 100)], "each epoch was trained once"
        starts = (run / "train.log").read_text().count("Num. features")
        assert starts == (2 if run == broken else 1), f"{name} was begun {starts} times"
    assert "gone on with from" in (broken / "train.log").read_text()
    table = findings(search, SoloComm()).table
    assert set(table["state"]) <= {"done", "pruned"}
    assert len(search.open_journal().trials()) in (TRIALS, TRIALS + 1), "two may have begun the last at once"


def test_a_worker_that_is_stopped_exits_with_75_and_is_gone_on_with(tmp_path: Path) -> None:
    searched(tmp_path)
    with worker(tmp_path, 100_000) as first:
        run = wait_for_epoch(tmp_path, first.pid, 300)
        first.send_signal(signal.SIGTERM)
        _, said = first.communicate(timeout=120)
    assert first.returncode == 75, said
    assert "by SIGTERM; the state is saved" in said
    stopped_at = epochs(run)[-1]
    with worker(tmp_path, 100_000) as second:
        assert wait_for_epoch(tmp_path, second.pid, stopped_at + 100) == run
    assert (run / "train.log").read_text().count("gone on with from") == 1
