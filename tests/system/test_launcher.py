"""Who started a rank, found by what it is: real processes, scripts between them, variables left over."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cofi_dist.system.launcher import Launcher, is_torchrun

ROOT = Path(__file__).parents[2]
# hands out the variables as torchrun does, and waits
STARTS = """
import os, subprocess, sys
given = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
sys.exit(subprocess.call(sys.argv[1:], env={**os.environ, **given}))
"""
RANK = """
import json, os, sys
from cofi_dist.system.launcher import Launcher
from cofi_dist.run.stop import StopRequest
found, stop = Launcher.find(), StopRequest()
print(json.dumps(found and [found.process.pid, found.is_torchrun]), flush=True)
if sys.stdin.readline() == "end\\n":
    stop.reason = "the file STOP"
    stop.end_launcher()
sys.stdin.readline()
print(stop.is_requested() and stop.reason, flush=True)
"""
WRAPPERS: dict[str, list[str]] = {
    "none": [],
    "script": ["bash", "bind.sh"],
    "scripts": ["bash", "bind.sh", "nice", "bash", "bind.sh"],
    "nohup": ["nohup"],
    "one line": ["bash", "-c", '"$@"; true', "bash"],
}


class Job:
    """A launcher, and a rank that it started."""

    def __init__(self, launcher: list[str], between: list[str], cwd: Path, **env: str) -> None:
        (cwd / "bind.sh").write_text('"$@"\nexit $?\n')
        self.process = subprocess.Popen(
            [*launcher, *between, sys.executable, "-c", RANK],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.found = json.loads(self.line())

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def say(self, text: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()
        self.process.wait(timeout=30)


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Job]:
    for name in ("torchrun", "driver.py"):
        (tmp_path / name).write_text(STARTS)

    def begin(launcher: str, between: list[str] | None = None, **env: str) -> Job:
        command = {"torchrun": [sys.executable, "-u", "torchrun"], "driver": [sys.executable, "driver.py"]}
        return Job(command.get(launcher, []), between or [], tmp_path, **env)

    return begin


@pytest.mark.parametrize("between", WRAPPERS.values(), ids=WRAPPERS)
def test_torchrun_is_found_and_ended_whatever_stands_between(
    between: list[str], start: Callable[..., Job]
) -> None:
    job = start("torchrun", between)
    assert job.found == [job.process.pid, True]
    job.say("end")
    assert job.process.wait(timeout=30) == -signal.SIGTERM
    job.say("")
    assert job.line() == "the file STOP"
    job.close()


@pytest.mark.parametrize("between", WRAPPERS.values(), ids=WRAPPERS)
def test_a_rank_whose_torchrun_is_killed_stops_although_a_script_lives_on(
    between: list[str], start: Callable[..., Job]
) -> None:
    job = start("torchrun", between)
    os.kill(job.process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, job.process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    job.say("")
    job.say("")
    assert job.line() == "the end of its launcher"
    job.close()


@pytest.mark.parametrize("world_size", ["", "1"])
def test_whoever_starts_a_run_with_variables_left_over_is_left_alone(
    world_size: str, start: Callable[..., Job]
) -> None:
    left = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": world_size, "LOCAL_RANK": "0"}
    job = start("", ["bash", "bind.sh"], **left)
    assert job.found is None
    job.say("end")
    job.say("")
    assert job.line() == "the file STOP"
    assert job.process.wait(timeout=30) == 0, "the script is ended"
    job.close()


def test_a_program_that_starts_ranks_is_watched_but_never_ended(start: Callable[..., Job]) -> None:
    job = start("driver", ["bash", "bind.sh"])
    assert job.found == [job.process.pid, False]
    job.say("end")
    job.say("")
    assert job.line() == "the file STOP"
    assert job.process.wait(timeout=30) == 0
    job.close()


def test_torchrun_above_a_shell_with_other_variables_is_not_this_run_s(start: Callable[..., Job]) -> None:
    job = start("torchrun", ["bash", "-c", 'export TORCHELASTIC_RUN_ID=y; "$@"; true', "bash"])
    assert job.found is None or job.found[0] != job.process.pid
    job.say("")
    job.say("")
    job.close()


def test_a_process_that_ended_does_not_live_though_its_number_may() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        launcher = Launcher(psutil.Process(process.pid), is_torchrun=True)
        assert launcher.is_alive()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not launcher.is_alive(), "a zombie"
    assert not launcher.is_alive()
    launcher.end()


@pytest.mark.parametrize(
    "command",
    [
        "torchrun --standalone x",
        "/venv/bin/torchrun x",
        "python /venv/bin/torchrun x",
        "python3.12 -u -W error -X dev /venv/bin/torchrun x",
        "python -m torch.distributed.run --nproc-per-node=2",
        "/usr/bin/python3 -Im torch.distributed.launch x",
        "python -mtorch.distributed.run",
        "python -Werror /lib/torch/distributed/run.py",
    ],
)
def test_torchrun_is_known_however_it_is_called(command: str) -> None:
    assert is_torchrun(command.split())


@pytest.mark.parametrize(
    "command",
    [
        "",
        "bash",
        "bash torchrun.sh torchrun",
        "python train.py torchrun",
        "python -m cofi_dist train torch.distributed.run",
        "python -c torchrun",
        "python -m torch.distributed.runner",
        "python my_torchrun",
        "python /x/run.py",
        "srun python -m torch.distributed.run",
        "vim /venv/bin/torchrun",
    ],
)
def test_what_only_speaks_of_torchrun_is_not_it(command: str) -> None:
    assert not is_torchrun(command.split())
