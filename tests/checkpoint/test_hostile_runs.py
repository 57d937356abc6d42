"""Run directories that are broken or were made to harm: one line, nothing elsewhere is touched."""

import json
import math
import os
import pickle
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cofi_dist.checkpoint.manifest import list_checkpoints
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.errors import CofiError, RunError
from cofi_dist.run.train import train
from tests.checkpoint.test_hostile import Bomb
from tests.support.runs import CONFIG, metrics, run

VICTIM = "victim"  # a file, and what a folder of the name holds, that no run may touch


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("good"), 1, 20, "run")


def put(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Something else in the place of what a run calls so."""

    def harm(run_dir: Path) -> None:
        path = run_dir / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        make(path)

    return harm


def folder(path: Path) -> None:
    path.mkdir()
    (path / "mine").write_text("not a run's")


def link(path: Path) -> None:
    path.symlink_to(path.parents[1 + (path.parent.name == "checkpoints")] / VICTIM)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def locked_by_a_pipe(path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / ".lock")


def bytes_of(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def instead_of_all(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def harm(run_dir: Path) -> None:
        shutil.rmtree(run_dir)
        make(run_dir)

    return harm


def text_of(values: dict[str, object]) -> Callable[[Path], object]:
    return bytes_of(json.dumps(values).encode())


LOCK: dict[str, object] = {
    "host": "elsewhere",
    "space": "",
    "pid": 1,
    "start": "",
    "job": "",
    "since": time.time(),
}
MINE = b"mine"
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file": (instead_of_all(bytes_of(MINE)), "run: is a file; give another run_dir"),
    "a link to itself": (instead_of_all(loop), "run: is a link that leads nowhere"),
    "no marker": (lambda d: (d / ".cofi_dist").unlink(), "run/config.yaml: stands where a run would write"),
    "a marker that leads elsewhere": (
        put(".cofi_dist", link),
        "run/.cofi_dist: is not a file that a run created",
    ),
    "checkpoints is a file": (
        put("checkpoints", bytes_of(MINE)),
        "run/checkpoints: is not a folder that a run created",
    ),
    "checkpoints leads elsewhere": (
        put("checkpoints", link),
        "run/checkpoints: is not a folder that a run created",
    ),
    "checkpoints leads to itself": (
        put("checkpoints", loop),
        "run/checkpoints: is not a folder that a run created",
    ),
    "checkpoints is a pipe": (
        put("checkpoints", os.mkfifo),
        "run/checkpoints: is not a folder that a run created",
    ),
    "metrics is a folder": (
        put("metrics.jsonl", folder),
        "run/metrics.jsonl: is not a file that a run created",
    ),
    "metrics leads elsewhere": (
        put("metrics.jsonl", link),
        "run/metrics.jsonl: is not a file that a run created",
    ),
    "metrics leads to itself": (
        put("metrics.jsonl", loop),
        "run/metrics.jsonl: is not a file that a run created",
    ),
    "metrics is a pipe": (
        put("metrics.jsonl", os.mkfifo),
        "run/metrics.jsonl: is not a file that a run created",
    ),
    "metrics is a pickle": (
        put("metrics.jsonl", bytes_of(pickle.dumps(Bomb()))),
        "metrics.jsonl: is not what a run writes",
    ),
    "the log is a folder": (put("train.log", folder), "run/train.log: is not a file that a run created"),
    "the log is a pipe": (put("train.log", os.mkfifo), "run/train.log: is not a file that a run created"),
    "the log leads elsewhere": (put("train.log", link), "run/train.log: is not a file that a run created"),
    "shards is a folder": (put("shards.json", folder), "run/shards.json: is not a file that a run created"),
    "config is a folder": (put("config.yaml", folder), "run/config.yaml: is not a file that a run created"),
    "config is a pickle": (
        put("config.yaml", bytes_of(pickle.dumps(Bomb()))),
        "config.yaml: is not UTF-8 text",
    ),
    "result is a folder": (put("result.json", folder), "run/result.json: is not a file that a run created"),
    "the model is a file": (put("model", bytes_of(MINE)), "run/model: is not a folder that a run created"),
    "the model leads elsewhere": (put("model", link), "run/model: is not a folder that a run created"),
    "the data lead elsewhere": (put("data", link), "run/data: is not a folder that a run created"),
    "tensorboard leads elsewhere": (
        put("tensorboard", link),
        "run/tensorboard: is not a folder that a run created",
    ),
    "the lock is held": (
        put(".lock", text_of(LOCK)),
        "run: process 1 on elsewhere has been running here since",
    ),
    "the lock is a folder": (put(".lock", folder), "run/.lock: is not a file that a run created"),
    "the lock is a pipe": (put(".lock", os.mkfifo), "run/.lock: is not a file that a run created"),
    "the lock is a pipe where no run is": (
        instead_of_all(locked_by_a_pipe),
        "run/.lock: is not a file that a run created",
    ),
    "the lock leads elsewhere": (put(".lock", link), "run/.lock: is not a file that a run created"),
    "the lock's process is enormous": (put(".lock", text_of(LOCK | {"pid": 10**30})), "run: process 1000"),
    "STOP is a folder": (put("STOP", folder), "run/STOP: is not a file that a run created"),
    "STOP leads elsewhere": (put("STOP", link), "run/STOP: is not a file that a run created"),
}
# What a run can take for what it is, nothing, and go on.
PASSED_OVER: dict[str, Callable[[Path], object]] = {
    "the lock's process is no number": put(".lock", text_of(LOCK | {"pid": "1"})),
    "the lock's time is infinite": put(".lock", bytes_of(json.dumps(LOCK | {"since": 1e999}).encode())),
    "the lock's time is no number": put(".lock", bytes_of(json.dumps(LOCK | {"since": math.nan}).encode())),
    "the lock's time is enormous": put(".lock", text_of(LOCK | {"since": 1e20})),
    "metrics are nested too deeply": put("metrics.jsonl", bytes_of(b"[" * 100_000 + b"\n")),
    "metrics are of an enormous epoch": put("metrics.jsonl", bytes_of(b'{"epoch": 1%s}\n' % (b"0" * 400))),
    "the lock is a pickle": put(".lock", bytes_of(pickle.dumps(Bomb()))),
    "a checkpoint is a file": put("checkpoints/epoch-00000030", bytes_of(b"")),
    "a checkpoint leads elsewhere": put("checkpoints/epoch-00000030", link),
    "a checkpoint leads to itself": put("checkpoints/epoch-00000030", loop),
    "an old checkpoint leads elsewhere": put("checkpoints/epoch-00000005", link),
    "a checkpoint of an enormous epoch": put("checkpoints/epoch-99999999999999999999", folder),
    "an unfinished save leads elsewhere": put("checkpoints/.epoch-00000030.tmp", link),
    "an unfinished save is a file": put("checkpoints/.epoch-00000030.tmp", bytes_of(b"")),
}


@pytest.fixture
def harmed(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run to be harmed; and what lies outside is afterwards as it was."""
    monkeypatch.chdir(tmp_path)
    victim = tmp_path / VICTIM
    victim.mkdir()
    for name in ("manifest.json", "mine"):
        (victim / name).write_bytes(MINE)
    yield shutil.copytree(good, tmp_path / "run")
    assert {path.name: path.read_bytes() for path in victim.iterdir()} == {
        "manifest.json": MINE,
        "mine": MINE,
    }
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["c.yaml/run", "x" * 300, "c.yaml"])
def test_what_cannot_be_a_run_directory_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError) as error:
        run(tmp_path, 1, 20, name)
    assert name in str(error.value)


def test_an_unharmed_one_goes_on(harmed: Path, tmp_path: Path) -> None:
    assert metrics(run(tmp_path, 1, 30, "run"))[-1]["epoch"] == 30


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("harm", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_each_is_refused_in_one_line(
    harm: Callable[[Path], object], said: str, harmed: Path, tmp_path: Path
) -> None:
    harm(harmed)
    before = {path: path.lstat().st_mtime_ns for path in harmed.rglob("*") if path.name != "metrics.jsonl"}
    with pytest.raises(CofiError) as error:
        run(tmp_path, 1, 30, "run")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    after = {path: path.lstat().st_mtime_ns for path in harmed.rglob("*") if path.name != "metrics.jsonl"}
    assert after == before


@pytest.mark.timeout(30)
@pytest.mark.parametrize("harm", PASSED_OVER.values(), ids=PASSED_OVER.keys())
def test_each_is_passed_over(
    harm: Callable[[Path], object], good: Path, harmed: Path, tmp_path: Path
) -> None:
    harm(harmed)
    run(tmp_path, 1, 30, "run")
    assert "gone on with from" in (harmed / "train.log").read_text()
    whole = [path.name for path in list_checkpoints(harmed / "checkpoints") if "999" not in path.name]
    assert whole == [
        "epoch-00000030",
        "epoch-00000020",
    ]


def test_what_a_killed_run_left_goes_and_nothing_else(harmed: Path, tmp_path: Path) -> None:
    folder(harmed / ".data.0123abcd.tmp")
    folder(harmed / ".model.0123abcd.tmp")
    (harmed / ".metrics.jsonl.0123abcd.tmp").touch()
    (harmed / ".config.yaml.0123abcd.tmp").symlink_to(tmp_path / VICTIM)
    mine = {".data.mine.tmp", ".notes.0123abcd.tmp"}
    for name in mine:
        (harmed / name).touch()
    run(tmp_path, 1, 20, "run")
    assert {path.name for path in harmed.glob(".*.tmp")} == mine


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """Root may write anywhere but on a file system that is mounted read-only."""
    if os.getuid() == 0:
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", tmp_path], check=False)
        if made.returncode:
            pytest.skip("nothing can be mounted here")
    else:
        tmp_path.chmod(0o500)
    (config := tmp_path.parent / f"{tmp_path.name}.yaml").write_text(CONFIG)
    try:
        with pytest.raises(CofiError, match=r"cannot be (written|used as run_dir): (Read-only|Permission)"):
            train(config, ["train.epochs=20", f"run_dir={tmp_path / 'run'}"], SoloComm(), quiet=True)
    finally:
        if os.getuid() == 0:
            subprocess.run(["umount", "-l", tmp_path], check=True)
