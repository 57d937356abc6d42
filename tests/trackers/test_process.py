"""A tracker in a process of its own: one that fails or hangs, and a training that is stopped or killed."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import cofi_dist
from cofi_dist.trackers import CheckpointReport, Metrics, Outcome, RunFacts
from cofi_dist.trackers.callback import Report
from cofi_dist.trackers.json_lines import from_json, to_json
from tests.e2e.conftest import here
from tests.e2e.test_torchrun import run as run_on_ranks
from tests.support.ratings_files import random_table
from tests.trackers.test_callback import SETTINGS

__all__ = ["here"]


def test_reports_survive_the_way() -> None:
    reports: list[Report] = [
        RunFacts(run_dir=Path("/a"), epoch=0, config={"a.b": [1, "x"]}, facts={"ranks": 2}),
        Metrics(epoch=1, cost=float("inf"), seconds=0.1, ratings_per_second=1e9, validation={"rmse": 1 / 3}),
        CheckpointReport(epoch=1, bytes=2, seconds=0.5, error=""),
        Outcome(status="finished", model=Path("/a/model"), epoch=3),
        Outcome(status="stopped", message="by a\nsignal"),
    ]
    line = to_json(reports)
    assert line.count("\n") == 1
    assert from_json(line) == reports


def wait_for(what: Callable[[], object]) -> None:
    until = time.monotonic() + 240
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


def trackers_below(process: psutil.Process) -> list[psutil.Process]:
    return [
        each for each in process.children(recursive=True) if "cofi_dist.trackers" in " ".join(each.cmdline())
    ]


def test_one_whose_server_never_answers_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setattr("cofi_dist.trackers.group.END_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:  # connections wait, and nobody accepts them
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        given = {**SETTINGS, "train": {**SETTINGS["train"], "loggers": ["mlflow"]}}
        cofi_dist.fit(random_table(), run_dir=tmp_path / "run", **given)
    said = (tmp_path / "run/train.log").read_text()
    assert "train.loggers: mlflow: 7 reports did not get through: it is too slow, or hangs\n" in said
    wait_for(lambda: not trackers_below(psutil.Process()))


def test_one_that_cannot_start_is_told_of_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setattr("cofi_dist.trackers.group.END_SECONDS", 300.0)
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    given = {**SETTINGS, "train": {**SETTINGS["train"], "loggers": ["wandb"]}}
    cofi_dist.fit(random_table(), run_dir=tmp_path / "run", **given)
    (line,) = [x for x in (tmp_path / "run/train.log").read_text().splitlines() if "train.loggers" in x]
    assert line.startswith("train.loggers: wandb: on_start: ")
    assert line.endswith("; it is switched off, and the run goes on")


def recorded(store: Path, query: str) -> list[tuple[object, ...]]:
    """What MLflow's store says; nothing while it is being made."""
    if not store.exists():
        return []
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []
    finally:
        connection.close()


def end_by(number: int, command: list[str], cwd: Path, env: dict[str, str], store: Path) -> int:
    """Train until something more is recorded, send a signal, and return the exit code when all has ended."""
    query = "select step from metrics"
    begun = len(recorded(store, query))
    with subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: len(recorded(store, query)) > begun)
            trackers = trackers_below(psutil.Process(process.pid))
            process.send_signal(number)
            process.wait(timeout=240)
        finally:
            process.kill()  # it would train for days
    wait_for(lambda: not any(each.is_running() for each in trackers))
    return process.returncode


def test_a_training_that_is_stopped_and_one_that_is_killed_are_recorded_as_such(here: Path) -> None:
    for name in ("mlflow", "sqlalchemy"):
        pytest.importorskip(name)
    command = [sys.executable, "-m", "cofi_dist", "train", "--config", "tiny.yaml", "run_dir=run"]
    command += ["train.epochs=100000000", "train.log_every=5000", "train.loggers=[mlflow]"]
    command += ["checkpoint.resume=auto"]
    store = here / "run/trackers/mlflow.db"
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    env = {name: value for name, value in env.items() if not name.startswith("MLFLOW_")}
    ends: list[object] = []
    for number in (signal.SIGTERM, signal.SIGKILL):
        returned = end_by(number, command, here, env, store)
        ends.append((returned, recorded(store, "select status from runs")))
    assert ends == [(75, [("KILLED",)]), (-signal.SIGKILL, [("FAILED",)])]
    assert recorded(store, "pragma integrity_check") == [("ok",)]
    steps = [step for (step,) in recorded(store, "select step from metrics where key = 'cost' order by step")]
    assert len(set(steps)) == len(steps), "an epoch was recorded twice"
    assert steps[:2] == [1, 5000]


def test_of_two_ranks_one_records_and_stdout_is_the_notebooks(here: Path) -> None:
    pytest.importorskip("tensorboard")
    done = run_on_ranks(2, "train", "--config", "tiny.yaml", "train.loggers=[tensorboard]", cwd=here)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 9
    assert len(list((here / "runs/tiny/tensorboard").iterdir())) == 1
    assert "train.loggers" not in done.stderr
