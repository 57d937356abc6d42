"""When a run leaves by itself. On a cluster, tests/slurm."""

import math
import os
import time
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from cofi_dist.errors import ConfigError
from cofi_dist.run.deadline import stop_time
from cofi_dist.system.launcher import Launcher


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_JOB_END_TIME", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


def test_no_deadline_is_never() -> None:
    assert stop_time(None) == math.inf


def test_seconds_count_from_the_start_of_the_command() -> None:
    assert time.time() - 3600 < stop_time(10.0) - 10.0 < time.time()


def test_under_torchrun_they_count_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    first = psutil.Process(1)  # of all processes, which began before us
    monkeypatch.setattr(Launcher, "find", lambda: Launcher(first, is_torchrun=True))
    assert stop_time(10.0) == first.create_time() + 10.0
    own = psutil.Process().create_time()
    monkeypatch.setattr(Launcher, "find", lambda: Launcher(first, is_torchrun=False))
    assert stop_time(10.0) == own + 10.0, "a program of the user's may have begun days ago"


def test_left_over_variables_of_torchrun_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    own = stop_time(10.0)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert stop_time(10.0) == own


def test_below_zero_they_count_back_from_the_end_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1000000")
    assert stop_time(-120.0) == 999_880


@pytest.mark.parametrize("end", ["", "soon", "-1"])
def test_an_end_that_is_no_time_is_asked_for(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "squeue"
    program.write_text("#!/bin/sh\necho 2026-11-24T12:00:00\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_END_TIME", end)
    assert stop_time(-60.0) == datetime(2026, 11, 24, 11, 59).timestamp()


def test_a_task_of_an_array_asks_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "squeue"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *--jobs=7_2*) echo 2026-11-24T12:00:00 ;; *) exit 1 ;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, value in (("JOB_ID", "7"), ("ARRAY_JOB_ID", "7"), ("ARRAY_TASK_ID", "2")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert stop_time(-60.0) == datetime(2026, 11, 24, 11, 59).timestamp()


def test_without_a_job_they_cannot() -> None:
    with pytest.raises(ConfigError, match=r"train\.deadline: -120 counts back from the end of a SLURM job"):
        stop_time(-120.0)


@pytest.mark.parametrize("squeue", ["echo NONE", "exit 1"])
def test_a_job_without_an_end_is_an_error(
    squeue: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = os.path.join(str(tmp_path), "squeue")
    with open(program, "w") as file:
        file.write(f"#!/bin/sh\n{squeue}\n")
    os.chmod(program, 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with pytest.raises(ConfigError, match="SLURM does not say when job 7 ends"):
        stop_time(-120.0)
