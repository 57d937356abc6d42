"""Saves that fail, and what is kept of them."""

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cofi_dist.checkpoint import retention, writer
from cofi_dist.checkpoint.manifest import list_checkpoints
from cofi_dist.cost import ErrorTerm
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.errors import RunError, SaveError
from cofi_dist.files.tensor_file import write_tensors
from cofi_dist.files.written_file import flush_to_disk
from cofi_dist.model import Model
from cofi_dist.optim.adam import Adam
from cofi_dist.optim.base import PendingSum
from cofi_dist.run.train import train
from cofi_dist.testing import run_ranks
from tests.support.runs import CONFIG, metrics, run, tensors


class FullDisk:
    """Refuses the saves whose numbers, from 1, it was given; two files make one."""

    def __init__(self, *refused: int) -> None:
        self._refused, self._files = refused, 0

    def __call__(self, file: Path, tensors: dict[str, np.ndarray]) -> tuple[int, str]:
        self._files += 1
        if (self._files + 1) // 2 in self._refused:
            self._files += self._files % 2  # the save ends with its first file
            raise OSError(28, "No space left on device")
        return write_tensors(file, tensors)


def epochs_of(run_dir: Path) -> list[int]:
    return [int(path.name.removeprefix("epoch-")) for path in list_checkpoints(run_dir / "checkpoints")]


def test_a_save_that_fails_warns_keeps_the_last_good_one_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "write_tensors", FullDisk(2, 3))
    run_dir = run(tmp_path, 1, 40, "run")
    log = (run_dir / "train.log").read_text()
    for epoch in (20, 30):
        assert f"the checkpoint of epoch {epoch} could not be saved: No space left on device" in log
    assert epochs_of(run_dir) == [40, 10]
    assert not list((run_dir / "checkpoints").glob(".*")), "nothing half-written"
    monkeypatch.undo()
    assert metrics(run_dir) == metrics(run(tmp_path, 1, 40, "whole"))


def test_too_many_failures_in_a_row_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "write_tensors", FullDisk(2, 4, 5, 6))
    says = "max_failures: 3 saves in a row failed, the last at epoch 60: No space left on device"
    with pytest.raises(SaveError, match=says):
        run(tmp_path, 1, 100, "run")
    assert epochs_of(tmp_path / "run") == [30, 10]
    monkeypatch.undo()
    assert metrics(run(tmp_path, 1, 100, "run")) == metrics(run(tmp_path, 1, 100, "whole"))


def test_what_is_no_mistake_of_the_disk_fails_a_save_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, 1, 20, "run", "checkpoint.keep=1")
    monkeypatch.setattr(writer, "write_tensors", lambda *_: 1 / 0)
    with pytest.raises(SaveError, match="division by zero"):
        run(tmp_path, 1, 60, "run", "checkpoint.keep=1")
    assert epochs_of(tmp_path / "run") == [20]


def test_a_checkpoint_that_lacks_a_file_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, 1, 20, "run", "checkpoint.keep=1")

    def forgetful(file: Path, tensors: dict[str, np.ndarray]) -> tuple[int, str]:
        written = write_tensors(file, tensors)
        if file.name.startswith("users"):
            file.unlink()
        return written

    monkeypatch.setattr(writer, "write_tensors", forgetful)
    with pytest.raises(SaveError, match="is missing"):
        run(tmp_path, 1, 60, "run", "checkpoint.keep=1")
    assert epochs_of(tmp_path / "run") == [20]


def test_nothing_saved_is_not_called_resumable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "write_tensors", FullDisk(1))
    says = r"stopped after epoch \d+ by train.deadline, and nothing could be saved"
    with pytest.raises(SaveError, match=says):
        run(tmp_path, 1, 100_000, "run", "train.deadline=0.3", "checkpoint.every=90000")


def test_a_run_from_elsewhere_has_saved_nothing_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = f"checkpoint.resume={run(tmp_path, 1, 20, 'elsewhere')}"
    assert epochs_of(run(tmp_path, 1, 20, "no step more", elsewhere)) == [20]
    monkeypatch.setattr(writer, "write_tensors", FullDisk(1))
    with pytest.raises(
        SaveError, match=r"stopped after epoch \d+ by train.deadline, and nothing could be saved"
    ):
        run(tmp_path, 1, 30, "stopped", elsewhere, "train.deadline=0.001")


def refuse_result(*_: object) -> None:
    raise RunError("result.json: cannot be written: No space left on device")


def refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("full", "fail", "epoch_kept"),
    [
        ("cofi_dist.model.store.IdMap.save", refuse, 20),
        ("cofi_dist.model.store.write_tensors", refuse, 20),
        ("cofi_dist.run.directory.RunDirectory.save_result", refuse_result, 30),
    ],
)
def test_a_disk_that_is_full_at_the_end_is_a_failure_and_keeps_a_model(
    full: str, fail: Callable[..., None], epoch_kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Model.load(run(tmp_path, 1, epoch_kept, "kept"))
    run(tmp_path, 1, 20, "run")
    monkeypatch.setattr(full, fail)
    with pytest.raises(SaveError, match=r"(model|result.json): cannot be written: No space left on device; "):
        run(tmp_path, 1, 30, "run")
    assert torch.equal(Model.load(tmp_path / "run").factors.X, kept.factors.X)
    assert not list((tmp_path / "run").glob(".*.tmp"))
    monkeypatch.undo()
    assert metrics(run(tmp_path, 1, 30, "run"))[-1]["epoch"] == 30


def slowly_pruned(comm: Comm, file: Path, given: list[str]) -> int:
    """Most checkpoints that there were when this rank began to write one."""
    most, prune = 0, retention.prune

    def slow(newest: Path, keep: int, names: set[str]) -> None:
        time.sleep(0.2)
        prune(newest, keep, names)

    def counting(path: Path, tensors: dict[str, np.ndarray]) -> tuple[int, str]:
        nonlocal most
        most = max(most, len(list_checkpoints(path.parents[1])))
        return write_tensors(path, tensors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "prune", slow)
        patch.setattr(writer, "write_tensors", counting)
        train(file, given, comm, quiet=True)
    return most


def test_every_rank_waits_until_old_ones_are_gone(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(CONFIG)
    given = ["train.epochs=5", f"run_dir={tmp_path / 'run'}", "checkpoint.every=1", "checkpoint.keep=1"]
    assert max(run_ranks(2, slowly_pruned, file, given, tmp=tmp_path)) == 1
    assert epochs_of(tmp_path / "run") == [5], "the last pruning is waited for too"


def broken(comm: Comm, file: Path, given: list[str]) -> None:
    """Train; after 15 steps a moment of the last rank is not finite, while the factors stay so."""
    moves, steps = Adam._moves, 0

    def breaks(self: Adam, error: ErrorTerm) -> Iterator[PendingSum]:
        nonlocal steps
        yield from moves(self, error)
        steps += 1
        if steps == 15 and comm.rank == comm.world_size - 1:
            self.moves.moments["W"].square[0, 0] = math.inf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adam, "_moves", breaks)
        train(file, given, comm, quiet=True)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_state_that_is_not_finite_takes_no_good_ones_place(ranks: int, tmp_path: Path) -> None:
    """Be it a moment of one rank; neither when a save is due nor at the end."""
    file = tmp_path / "c.yaml"
    file.write_text(CONFIG)
    given = ["train.epochs=40", f"run_dir={tmp_path / 'run'}"]
    if ranks == 1:
        broken(SoloComm(), file, given)
    else:
        run_ranks(ranks, broken, file, given, tmp=tmp_path)
    assert epochs_of(tmp_path / "run") == [10]
    assert (tmp_path / "run/model").exists()


def test_a_broken_later_one_does_not_count_among_those_that_stay(tmp_path: Path) -> None:
    run_dir = run(tmp_path, 1, 30, "run", "checkpoint.keep=1")
    (run_dir / "checkpoints/epoch-00000090").mkdir()
    run(tmp_path, 1, 40, "run", "checkpoint.keep=1")
    assert epochs_of(run_dir) == [90, 40]


def test_as_many_stay_as_asked_and_every_save_is_measured(tmp_path: Path) -> None:
    run_dir = run(tmp_path, 2, 50, "run", "checkpoint.keep=3")
    assert epochs_of(run_dir) == [50, 40, 30]
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    saves = [line for line in lines if "checkpoint" in line]
    assert [line["epoch"] for line in saves] == [10, 20, 30, 40, 50]
    size = sum(f.stat().st_size for f in list_checkpoints(run_dir / "checkpoints")[0].glob("*.safetensors"))
    assert saves[-1]["checkpoint"]["bytes"] == size
    assert 0 < saves[-1]["checkpoint"]["copy_seconds"] <= saves[-1]["checkpoint"]["seconds"]


def test_broken_earlier_ones_do_not_count_among_those_that_stay(tmp_path: Path) -> None:
    run_dir = run(tmp_path, 1, 30, "run", "checkpoint.keep=3")
    (run_dir / "checkpoints/epoch-00000020/manifest.json").write_text("{}")
    run(tmp_path, 1, 40, "run", "checkpoint.keep=3")
    assert epochs_of(run_dir) == [40, 30, 20, 10], "three of them whole"
    run(tmp_path, 1, 50, "run", "checkpoint.keep=3")
    assert epochs_of(run_dir) == [50, 40, 30]


@pytest.mark.parametrize("ranks", [1, 2])
def test_files_of_old_checkpoints_are_written_over(ranks: int, tmp_path: Path) -> None:
    """The same bits as in new files, and nothing of it is left."""
    run_dir = run(tmp_path, ranks, 20, "run")
    old = {path.stat().st_ino for path in (run_dir / "checkpoints").rglob("*.safetensors")}
    run(tmp_path, ranks, 50, "run")
    kept = list_checkpoints(run_dir / "checkpoints")
    assert {path.stat().st_ino for path in kept[0].glob("*.safetensors")} <= old, "not in new files"
    assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == sorted(p.name for p in kept)
    with pytest.MonkeyPatch.context() as patch:
        if ranks == 1:
            patch.setattr(retention, "_keep_as_spare", lambda *_: False)
        fresh = run(tmp_path, 1, 50, "fresh")
    got, want = tensors(run_dir), tensors(fresh)
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=0 if ranks == 1 else 1e-9, atol=1e-12)


def test_files_that_have_another_name_are_not_written_over(tmp_path: Path) -> None:
    """A snapshot by hard links, as backups make, stays what it was."""
    run_dir = run(tmp_path, 1, 20, "run")
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for file in (found := list_checkpoints(run_dir / "checkpoints")[0]).iterdir():
        os.link(file, snapshot / file.name)
    before = {file.name: file.read_bytes() for file in snapshot.iterdir()}
    run(tmp_path, 1, 60, "run")
    assert not found.exists()
    assert {file.name: file.read_bytes() for file in snapshot.iterdir()} == before


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("mine")
    link.symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        write_tensors(link, {"X": np.zeros(1)})
    assert target.read_text() == "mine"


def test_a_save_that_may_not_outlast_a_power_cut_is_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def refused(path: Path) -> None:
        if path.name == "run":  # once the checkpoint has its name
            raise OSError(5, "Input/output error")
        flush_to_disk(path)

    monkeypatch.setattr(writer, "flush_to_disk", refused)
    with pytest.raises(SaveError, match="it stands, but may not outlast a power cut: Input/output error"):
        run(tmp_path, 1, 50, "run", "checkpoint.max_failures=2")
    assert epochs_of(tmp_path / "run") == [20, 10]
