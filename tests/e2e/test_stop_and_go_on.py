"""A run that is asked to stop, or killed, and started again: as a user sees it."""

import fcntl
import os
import pty
import random
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from cofi_dist.checkpoint.manifest import list_checkpoints
from cofi_dist.run.stop import SIGNALS
from tests.e2e.test_cli import cofi
from tests.support.runs import metrics, tensors
from tools import faults

CONFIG = """
data: {synthetic: {num_users: 900, num_items: 1000, num_ratings: 120000}}
model: {num_features: 16}
train: {epochs: 1500, log_every: 50, lr: 0.01}
checkpoint: {resume: auto}
"""
GO_ON = ["train", "--config", "c.yaml"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped, with a checkpoint at its end."""
    home = tmp_path_factory.mktemp("whole")
    (home / "c.yaml").write_text(CONFIG)
    assert cofi(*GO_ON, "checkpoint.every=1500", cwd=home).returncode == 0
    return home / "runs/c"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """What a test that failed has left running ends."""
    yield
    while STARTED:
        with STARTED.pop() as process:  # its pipes too
            process.kill()


def begin(home: Path, *args: str) -> subprocess.Popen[str]:
    """A training process, just started."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cofi_dist", *GO_ON, *args],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # whoever runs the tests in the background may have made children ignore it
        preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in SIGNALS],  # noqa: PLW1509
    )
    STARTED.append(process)
    return process


def start(home: Path, *args: str) -> subprocess.Popen[str]:
    """A training process that has printed an epoch."""
    process = begin(home, *args)
    file, deadline = home / "runs/c/metrics.jsonl", time.monotonic() + 60
    while not (file.exists() and file.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.005)
    return process


def require_the_same(run_dir: Path, whole: Path) -> None:
    assert metrics(run_dir) == metrics(whole)
    got, want = tensors(run_dir), tensors(whole)
    assert all(torch.equal(got[name], want[name]) for name in want)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_saves_and_leaves_with_75(number: signal.Signals, home: Path, whole: Path) -> None:
    process = start(home)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    last = err.splitlines()[-1]
    assert last.startswith("cofi-dist: stopped after epoch ")
    assert last.endswith(f" by {number.name}; the state is saved; go on with checkpoint.resume=auto")
    done = cofi(*GO_ON, "checkpoint.every=1500", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "gone on with from runs/c/checkpoints/epoch-" in done.stderr
    require_the_same(home / "runs/c", whole)
    listed = cofi("checkpoints", "runs/c", cwd=home)
    assert listed.stdout.splitlines()[1].split()[0] == "1500"
    assert listed.returncode == 0


def own_the_terminal() -> None:
    """Whoever begins a session has one; its end is a SIGHUP then."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_a_closed_terminal_saves_and_leaves_with_75(home: Path) -> None:
    terminal, line = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cofi_dist", *GO_ON, "train.epochs=1000000"],
        cwd=home,
        stdin=line,
        stdout=line,
        stderr=line,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=own_the_terminal,  # noqa: PLW1509
    )
    STARTED.append(process)
    os.close(line)
    seen = b""
    while b"epochs/s" not in seen:  # the bar is drawn
        seen += os.read(terminal, 4096)
    os.close(terminal)
    assert process.wait(timeout=60) == 75
    assert list_checkpoints(home / "runs/c/checkpoints")
    log = (home / "runs/c/train.log").read_text()
    # once, or not at all if the signal came before the bar was drawn again
    assert log.count("stderr: cannot be written: Input/output error") <= 1


def size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def name_of(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def wait_until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def preparing(home: Path) -> subprocess.Popen[str]:
    """A training process that has begun to prepare a file."""
    lines = "".join(f"{k % 30011},{k // 30011},3\n" for k in range(3_000_000))
    (home / "r.csv").write_text("userId,movieId,rating\n" + lines)
    process = begin(home, "data={ratings: r.csv}")
    wait_until(lambda: list(home.rglob(".data.*.tmp")))
    return process


def test_while_preparing_it_leaves_at_once_and_nothing_behind(home: Path) -> None:
    process = preparing(home)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert err == "cofi-dist: stopped by SIGTERM before the first step; start it again to begin\n"
    assert sorted(path.name for path in home.iterdir()) == ["c.yaml", "r.csv"]


def test_what_one_killed_while_preparing_has_left_goes(home: Path) -> None:
    process = preparing(home)
    process.kill()
    process.communicate()
    done = cofi(*GO_ON, "train.epochs=1", cwd=home)
    assert done.returncode == 0, done.stderr
    assert not list(home.rglob("*.tmp"))


def test_while_compiling_it_leaves_before_long(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = home / "compiled"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(compiled))  # nothing is compiled already
    process = begin(home, "train.epochs=100000")
    # what one thread does is done, and the loop over the threads is next
    wait_until(lambda: process.poll() is not None or any(compiled.rglob("*.nbc")))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "by SIGTERM" in err.splitlines()[-1]


def test_while_validating_and_saving_it_ends_the_step(home: Path) -> None:
    always = ["checkpoint.every=1", "validation.every=1", "data.validation={}", "train.epochs=100000"]
    for _ in range(3):
        before = size_of(home / "runs/c/metrics.jsonl")
        process = begin(home, *always)
        wait_until(lambda before=before: size_of(home / "runs/c/metrics.jsonl") > before)  # type: ignore[misc]
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 75, err
        (stopped,) = re.findall(r"stopped after epoch (\d+) by SIGTERM; the state is saved", err)
        listed = cofi("checkpoints", "runs/c", cwd=home)
        assert listed.stdout.splitlines()[1].split()[0] == stopped
        assert "broken" not in listed.stdout


def test_a_second_interrupt_leaves_at_once(home: Path) -> None:
    long_steps = "data.synthetic={num_users: 60000, num_items: 9000, num_ratings: 4000000}"
    process = begin(home, long_steps, "model.num_features=100", "train.epochs=100000", "train.cost=sparse")
    wait_until(
        lambda: (home / "runs/c/metrics.jsonl").exists() and (home / "runs/c/metrics.jsonl").stat().st_size
    )
    while process.poll() is None:  # Python takes two that come while it is in a kernel for one
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not list_checkpoints(home / "runs/c/checkpoints")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can take a file system away")
def test_a_run_whose_file_system_is_gone_says_so_and_makes_nothing_in_its_place(
    home: Path, whole: Path
) -> None:
    (home / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", "disk"], cwd=home, check=True)
    process = begin(home, "run_dir=disk/run", "checkpoint.every=100", "train.epochs=1000000")
    wait_until(lambda: list_checkpoints(home / "disk/run/checkpoints"))
    (home / "kept").mkdir()
    subprocess.run(["mount", "--bind", "disk", "kept"], cwd=home, check=True)
    try:
        subprocess.run(["umount", "--lazy", "disk"], cwd=home, check=True)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1, err
        last = err.splitlines()[-1]
        assert last.startswith(
            "cofi-dist: checkpoint.max_failures: 3 saves in a row failed, the last at epoch "
        )
        assert last.endswith(": the run directory is gone, or its file system is")
        assert not list((home / "disk").iterdir())
        # it is back
        subprocess.run(["mount", "--bind", "kept", "disk"], cwd=home, check=True)
        reached = int(list_checkpoints(home / "disk/run/checkpoints")[0].name.removeprefix("epoch-"))
        more = cofi(*GO_ON, "run_dir=disk/run", f"train.epochs={reached + 100}", cwd=home)
        assert more.returncode == 0, more.stderr
        assert "gone on with from disk/run/checkpoints/epoch-" in more.stderr
    finally:
        for name in ("disk", "kept"):
            subprocess.run(["umount", "--lazy", name], cwd=home, check=False)


def test_a_stop_file_and_a_deadline_do_too(home: Path, whole: Path) -> None:
    process = start(home)
    (home / "runs/c/STOP").touch()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "by the file runs/c/STOP; the state is saved" in err
    # it is over before the first step
    again = cofi(*GO_ON, "train.deadline=0.001", cwd=home)
    assert again.returncode == 75
    assert "by train.deadline; the state is saved" in again.stderr
    assert cofi(*GO_ON, "checkpoint.every=1500", cwd=home).returncode == 0
    require_the_same(home / "runs/c", whole)


def test_two_runs_in_one_directory_are_one_too_many(home: Path) -> None:
    process = start(home, "train.epochs=100000")
    second = cofi(*GO_ON, cwd=home)
    assert second.returncode == 2
    assert second.stderr.startswith(f"cofi-dist: runs/c: process {process.pid} on ")
    assert len(second.stderr.splitlines()) == 1
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 75


def test_a_run_killed_before_its_first_checkpoint_begins_anew(home: Path, whole: Path) -> None:
    process = start(home)
    process.kill()
    process.communicate()
    done = cofi(*GO_ON, "checkpoint.every=1500", cwd=home)
    assert done.returncode == 0, done.stderr
    require_the_same(home / "runs/c", whole)


def test_a_finished_run_says_so(whole: Path) -> None:
    again = cofi(*GO_ON, "checkpoint.every=1500", cwd=whole.parents[1])
    assert again.returncode == 0
    assert "runs/c: is finished; a higher train.epochs goes on with it" in again.stderr


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    home = tmp_path_factory.mktemp("undisturbed")
    return {ranks: faults.undisturbed(home / str(ranks), ranks) for ranks in (2, 3)}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", faults.FAULTS)
def test_a_disturbed_run_ends_as_the_undisturbed_one(
    name: str, undisturbed: dict[int, Path], tmp_path: Path
) -> None:
    if name == "disk full" and os.getuid() != 0:
        pytest.skip("a small disk can only be mounted by root")
    rng = random.Random(name)
    outcome, _ = faults.one(tmp_path / "run", name, undisturbed, rng, 0)
    assert outcome == faults.GOOD


@pytest.mark.parametrize("misses", [0, 2, 99])
def test_a_fault_that_meets_nothing_is_tried_again_and_never_good(
    misses: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments: list[str] = []

    def attempt(case: faults.Case, name: str, moment: str, *_: object) -> str:
        case.folder.mkdir()
        moments.append(moment)
        return faults.MISSED if len(moments) <= misses else faults.GOOD

    monkeypatch.setattr(faults, "_attempt", attempt)
    whole = {2: tmp_path, 3: tmp_path}
    outcome, again = faults.one(tmp_path / "run", "SIGTERM", whole, random.Random(0), 0)
    tries = min(misses, faults.MOST_REPEATS)
    assert (again, set(moments[1:])) == (tries, {"step"} if tries else set())
    assert (outcome == faults.GOOD) == (misses <= faults.MOST_REPEATS)
    assert (tmp_path / "run").exists() == (outcome != faults.GOOD)
