"""A run that is gone on with is the run that was never broken off."""

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cofi_dist.checkpoint.manifest import BestByCriterion, list_checkpoints, read_manifest
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.errors import (
    CheckpointError,
    CheckpointReadError,
    CheckpointVersionError,
    CofiError,
    RunError,
    SaveError,
)
from cofi_dist.model import Model
from cofi_dist.run import directory as run_directory
from cofi_dist.run import start
from cofi_dist.run.lock import Lock
from cofi_dist.run.stop import Phase, StopRequest
from cofi_dist.run.train import train
from cofi_dist.testing import run_ranks
from cofi_dist.training.trainer import DivergedError
from tests.support.runs import CONFIG, metrics, run, tensors


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Uninterrupted runs of 40 epochs, by number of ranks."""
    tmp = tmp_path_factory.mktemp("whole")
    return {ranks: run(tmp, ranks, 40, f"r{ranks}") for ranks in (1, 2, 3)}


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("at", [10, 17])
def test_on_as_many_ranks_it_is_bit_identical(
    ranks: int, at: int, whole: dict[int, Path], tmp_path: Path
) -> None:
    run(tmp_path, ranks, at, "run")
    run_dir = run(tmp_path, ranks, 40, "run")
    assert metrics(run_dir) == metrics(whole[ranks])
    got, want = tensors(run_dir), tensors(whole[ranks])
    assert got.keys() == want.keys()
    assert {"W", "W.mean", "W.square", "W.best", "X", "c.best", "b.square", "model.X"} <= got.keys()
    for name in want:
        assert torch.equal(got[name], want[name]), name


@pytest.mark.parametrize(("before", "after"), [(1, 2), (4, 1), (4, 3), (4, 5), (3, 2)])
def test_on_other_numbers_of_ranks_it_is_the_same_to_rounding(
    before: int, after: int, whole: dict[int, Path], tmp_path: Path
) -> None:
    run(tmp_path, before, 13, "run")
    run_dir = run(tmp_path, after, 40, "run")
    for got, want in zip(metrics(run_dir), metrics(whole[1]), strict=True):
        assert got == pytest.approx(want, rel=1e-10)
    got_tensors, want_tensors = tensors(run_dir), tensors(whole[1])
    for name in want_tensors:
        torch.testing.assert_close(got_tensors[name], want_tensors[name], rtol=1e-7, atol=1e-9)
    assert read_manifest(list_checkpoints(run_dir / "checkpoints")[0]).world_size == after


def test_more_ranks_than_users_or_items_save_and_go_on(tmp_path: Path) -> None:
    few = "data.synthetic={num_users: 2, num_items: 3, num_ratings: 3}"
    nothing = ["data.validation=null", "validation.every=null"]
    run(tmp_path, 4, 10, "run", few, *nothing)
    run_dir = run(tmp_path, 3, 20, "run", few, *nothing)
    want = run(tmp_path, 1, 20, "whole", few, *nothing)
    for a, b in zip(metrics(run_dir), metrics(want), strict=True):
        assert a == pytest.approx(b, rel=1e-10)


def test_a_run_without_held_out_ratings_cannot_begin_to_validate(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("userId,movieId,rating\n1,1,5\n1,2,3\n2,1,4\n2,2,1\n")
    file = f"data={{ratings: {tmp_path / 'r.csv'}}}"
    run(tmp_path, 1, 10, "run", file, "validation=null")
    with pytest.raises(CheckpointError, match=r"its ratings were prepared with data\.validation\S* not set"):
        run(tmp_path, 1, 20, "run", file, "data.validation={}", "checkpoint.allow_changes=true")


def test_a_finished_run_is_left_as_it_is(whole: dict[int, Path], tmp_path: Path) -> None:
    shutil.copytree(whole[1], tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*") if p.is_file()}
    run(tmp_path, 1, 40, "run")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


def test_early_stopping_goes_on_where_it_was(tmp_path: Path) -> None:
    given = ["validation.patience=2", "train.lr=0.05"]
    want = run(tmp_path, 1, 200, "whole", *given)
    run(tmp_path, 1, 5, "run", *given)
    got = run(tmp_path, 1, 200, "run", *given)
    assert metrics(got) == metrics(want)
    assert metrics(got)[-1]["epoch"] < 200, "it was stopped early"
    results = [json.loads((r / "result.json").read_text()) for r in (got, want)]
    assert results[0]["validation_rmse"] == results[1]["validation_rmse"]


BY_LISTS = ["validation.metric=ndcg", "validation.k=5", "validation.users=50", "validation.patience=3"]


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_best_lists_are_gone_on_with(ranks: int, tmp_path: Path) -> None:
    want = run(tmp_path, 1, 200, "whole", *BY_LISTS)
    run(tmp_path, 1, 20, "run", *BY_LISTS)
    saved = read_manifest(list_checkpoints(tmp_path / "run" / "checkpoints")[0]).numbers.best
    assert isinstance(saved, BestByCriterion)
    assert saved.criterion.model_dump() == {"metric": "ndcg", "k": 5, "users": 50}
    got = run(tmp_path, ranks, 200, "run", *BY_LISTS)
    results = [json.loads((r / "result.json").read_text()) for r in (got, want)]
    assert results[0]["epoch"] == results[1]["epoch"] < 200
    assert results[0]["validation_ndcg"] == pytest.approx(results[1]["validation_ndcg"], rel=1e-12)
    if ranks == 1:
        assert metrics(got) == metrics(want)


def test_the_best_by_another_figure_is_forgotten_and_said(tmp_path: Path) -> None:
    run(tmp_path, 1, 20, "run")
    got = run(tmp_path, 1, 40, "run", "validation.metric=ndcg")
    said = (got / "train.log").read_text()
    assert "its best epoch was chosen by another figure; the best is looked for from here on" in said
    assert json.loads((got / "result.json").read_text())["epoch"] > 20


def test_the_best_lists_are_kept_through_a_time_without_validation(tmp_path: Path) -> None:
    lists = ["validation.metric=ndcg", "validation.k=5"]
    run(tmp_path, 1, 20, "run", *lists)
    saved = [read_manifest(list_checkpoints(tmp_path / "run" / "checkpoints")[0]).numbers.best]
    got = run(tmp_path, 1, 30, "run", "validation.every=null")
    saved.append(read_manifest(list_checkpoints(tmp_path / "run" / "checkpoints")[0]).numbers.best)
    assert saved[0] == saved[1]
    assert "another figure" not in (got / "train.log").read_text()
    got = run(tmp_path, 1, 40, "run", *lists)
    assert "another figure" not in (got / "train.log").read_text()


def test_the_record_of_the_best_by_rmse_is_that_of_earlier_versions(tmp_path: Path) -> None:
    run(tmp_path, 1, 20, "run")
    file = list_checkpoints(tmp_path / "run" / "checkpoints")[0] / "manifest.json"
    assert json.loads(file.read_text())["numbers"]["best"].keys() == {"epoch", "stale", "rmse", "mae"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("model.num_features=5", "has 60 users, 40 items and 4 features; the run has 60, 40 and 5"),
        ("data.synthetic.num_users=61", "the run has 61, 40 and 4"),
        ("data.synthetic.seed=9", "is of another problem: the ratings differ"),
        ("data.validation.seed=9", "is of another problem: data.validation.seed differ"),
        (
            "train.lambda_=2.0",
            r"another problem: train\.lambda_ differ; begin anew .* or set checkpoint\.allow_changes: true",
        ),
        ("train.dtype=float32", "is of another problem: train.dtype differ"),
        ("model.item_bias=false", "is of another problem: model.item_bias differ"),
        ("model.user_bias=false", "has learnt user biases, which model.user_bias: false leaves out"),
    ],
)
def test_another_problem_is_refused_and_nothing_is_touched(
    change: str, says: str, whole: dict[int, Path], tmp_path: Path
) -> None:
    run_dir = shutil.copytree(whole[1], tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in run_dir.rglob("*") if p.is_file()}
    with pytest.raises(CheckpointError, match=says) as error:
        run(tmp_path, 1, 50, "run", change)
    assert "\n" not in str(error.value)
    assert {p: p.stat().st_mtime_ns for p in run_dir.rglob("*") if p.is_file()} == before


def test_what_changed_is_said_and_allowed_where_told(whole: dict[int, Path], tmp_path: Path) -> None:
    run_dir = shutil.copytree(whole[1], tmp_path / "run")
    run(
        tmp_path,
        1,
        50,
        "run",
        "train.lambda_=2.0",
        "train.lr=0.02",
        "train.init=counter",
        "checkpoint.allow_changes=true",
    )
    log = (run_dir / "train.log").read_text()
    assert "changed: train.lambda_ is 2.0, was 1.0" in log
    assert "changed: train.lr is 0.02, was 0.01" in log
    assert "changed: train.init is counter, was notebook" in log
    assert "changed: train.epochs" not in log


def test_a_named_checkpoint_begins_a_run_elsewhere(whole: dict[int, Path], tmp_path: Path) -> None:
    for source in (whole[2], list_checkpoints(whole[2] / "checkpoints")[0]):
        name = f"from-{source.name}"
        run_dir = run(tmp_path, 1, 50, name, f"checkpoint.resume={source}")
        assert [line["epoch"] for line in metrics(run_dir)] == [42, 49, 50]
    with pytest.raises(CheckpointError, match=r"has no manifest\.json"):
        run(tmp_path, 1, 50, "none", f"checkpoint.resume={tmp_path / 'nowhere'}")
    assert not (tmp_path / "none").exists()


def replace(tmp_path: Path, named: Path) -> None:
    """The run in `run` by one from what is named."""
    (tmp_path / "c.yaml").write_text(CONFIG)
    given = ["train.epochs=50", f"run_dir={tmp_path / 'run'}", f"checkpoint.resume={named}"]
    train(tmp_path / "c.yaml", given, SoloComm(), replace=True, quiet=True)


def test_a_run_is_not_lost_to_one_that_would_begin_from_it(whole: dict[int, Path], tmp_path: Path) -> None:
    run_dir = shutil.copytree(whole[1], tmp_path / "run")
    (tmp_path / "alike").mkdir()
    (tmp_path / "alike/checkpoints").symlink_to(run_dir / "checkpoints")
    before = untouched(run_dir)
    for named in (run_dir, list_checkpoints(run_dir / "checkpoints")[0], tmp_path / "alike"):
        with pytest.raises(RunError, match="this run would overwrite its own input"):
            replace(tmp_path, named)
    assert untouched(run_dir) == before


def test_a_run_is_not_lost_to_one_that_cannot_begin(whole: dict[int, Path], tmp_path: Path) -> None:
    run_dir = shutil.copytree(whole[1], tmp_path / "run")
    broken = shutil.copytree(list_checkpoints(run_dir / "checkpoints")[0], tmp_path / "broken")
    part = next(broken.glob("items-*"))
    part.write_bytes(part.read_bytes()[:-1] + b"\x7f")
    before = untouched(run_dir)
    for named, says in (
        (tmp_path / "nowhere", r"nowhere: has no manifest\.json"),
        (tmp_path / ("x" * 300), "cannot be read: File name too long"),
        (broken, "the checksum differs"),
        (run(tmp_path, 1, 10, "other", "data.synthetic.seed=9"), "is of another problem: the ratings differ"),
    ):
        with pytest.raises(CheckpointError, match=says):
            replace(tmp_path, named)
        assert untouched(run_dir) == before, says


def test_who_prepares_has_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepared_twice(*given: Any) -> Any:
        monkeypatch.undo()
        with pytest.raises(RunError, match="has been running here since"):
            run(tmp_path, 1, 10, "run")
        return prepare_source(*given)

    monkeypatch.setattr(start, "prepare_source", prepared_twice)
    assert metrics(run(tmp_path, 1, 20, "run"))[-1]["epoch"] == 20


@pytest.mark.parametrize("resume", ["none", "auto"])
def test_a_run_that_came_before_the_lock_was_taken_is_not_lost(
    resume: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(run_dir: Path, on_lost: Callable[[SaveError], object]) -> Lock:
        monkeypatch.undo()
        run(tmp_path, 1, 10, "run")
        return Lock(run_dir, on_lost)

    monkeypatch.setattr(run_directory, "Lock", late)
    if resume == "none":
        with pytest.raises(RunError, match=r"already holds a run; .* checkpoint\.resume=auto to go on"):
            run(tmp_path, 1, 20, "run", "checkpoint.resume=none")
    else:
        assert "gone on with from" in (run(tmp_path, 1, 20, "run") / "train.log").read_text()
    assert list_checkpoints(tmp_path / "run/checkpoints")[-1].name == "epoch-00000010"


@pytest.mark.parametrize("harm", ["cut", "flip", "no part", "no manifest", "half a manifest"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_broken_checkpoint_is_skipped_for_the_one_before(
    harm: str, ranks: int, whole: dict[int, Path], tmp_path: Path
) -> None:
    run_dir = shutil.copytree(whole[ranks], tmp_path / "run")
    newest = list_checkpoints(run_dir / "checkpoints")[0]
    part, manifest = next(newest.glob("items-*")), newest / "manifest.json"
    content = part.read_bytes()
    if harm == "cut":
        part.write_bytes(content[:-1])
    elif harm == "flip":
        part.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif harm == "no part":
        part.unlink()
    elif harm == "no manifest":
        manifest.unlink()
    else:
        manifest.write_bytes(manifest.read_bytes()[:100])
    run(tmp_path, ranks, 60, "run")
    log = (run_dir / "train.log").read_text()
    assert f"not taken: {newest}" in log
    assert "epoch-00000030" in log.split("gone on with from")[1].split(",")[0]
    want = run(tmp_path, ranks, 60, "want")
    assert metrics(run_dir) == metrics(want)
    for name, tensor in tensors(want).items():
        assert torch.equal(tensors(run_dir)[name], tensor), name


def test_where_no_checkpoint_is_whole_the_run_begins_anew(whole: dict[int, Path], tmp_path: Path) -> None:
    run_dir = shutil.copytree(whole[1], tmp_path / "run")
    for directory in list_checkpoints(run_dir / "checkpoints"):
        (directory / "manifest.json").unlink()
    run(tmp_path, 1, 41, "run")
    assert "is whole: begun anew" in (run_dir / "train.log").read_text()
    assert metrics(run_dir)[: len(metrics(whole[1]))] == metrics(whole[1])


def test_replace_and_auto_contradict_each_other(tmp_path: Path) -> None:
    from cofi_dist.distributed.comm import SoloComm
    from cofi_dist.run.train import train

    run(tmp_path, 1, 10, "run")
    with pytest.raises(CofiError, match="--replace loses the run"):
        train(tmp_path / "c.yaml", [f"run_dir={tmp_path / 'run'}"], SoloComm(), replace=True)


def test_a_finished_run_of_another_problem_is_not_taken_for_this_one(tmp_path: Path) -> None:
    run(tmp_path, 1, 20, "run")
    before = metrics(tmp_path / "run")
    for key, value in (("train.lambda_", "99"), ("train.init", "counter")):
        with pytest.raises(CheckpointError, match=f"finished run of another problem: {key} differ"):
            run(tmp_path, 1, 20, "run", f"{key}={value}")
    assert metrics(tmp_path / "run") == before


def test_a_signal_while_the_model_is_saved_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, stop = Model.save, StopRequest()

    def interrupted(self: Model, directory: Path, *, replace: bool) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        save(self, directory, replace=replace)

    monkeypatch.setattr(Model, "save", interrupted)
    (tmp_path / "c.yaml").write_text(CONFIG)
    stop.listen()
    given = ["train.epochs=20", f"run_dir={tmp_path / 'run'}", "checkpoint.every=null"]
    with stop.phase(Phase.STARTING):
        train(tmp_path / "c.yaml", given, SoloComm(), quiet=True, stop=stop)
    assert stop.reason == "SIGTERM"
    assert Model.load(tmp_path / "run")


def untouched(run_dir: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in run_dir.rglob("*") if path.is_file()}


def with_a_file(tmp_path: Path) -> list[str]:
    """Overrides that take another source: a ratings file."""
    lines = [f"{user},{item},{(user * item) % 5 + 1}" for user in range(20) for item in range(user % 7 + 3)]
    (tmp_path / "r.csv").write_text("\n".join(["userId,movieId,rating", *lines]) + "\n")
    return ["data.synthetic=null", f"data.ratings={tmp_path / 'r.csv'}"]


def test_auto_never_gives_up_what_could_be_lost(whole: dict[int, Path], tmp_path: Path) -> None:
    run_dir = shutil.copytree(whole[1], tmp_path / "run")
    before = untouched(run_dir)
    with pytest.raises(RunError, match="holds checkpoints, but no data/"):
        run(tmp_path, 1, 50, "run", *with_a_file(tmp_path))
    assert untouched(run_dir) == before, "another source"
    from_file = run(tmp_path, 1, 20, "file", *with_a_file(tmp_path))
    shutil.rmtree(from_file / "data")
    before = untouched(from_file)
    with pytest.raises(RunError, match=r"go on in another run_dir with checkpoint\.resume="):
        run(tmp_path, 1, 30, "file", *with_a_file(tmp_path))
    assert untouched(from_file) == before, "its ratings are gone"
    elsewhere = run(tmp_path, 1, 30, "on", *with_a_file(tmp_path), f"checkpoint.resume={from_file}")
    assert [line["epoch"] for line in metrics(elsewhere)] == [21, 28, 30]
    alone = run(tmp_path, 1, 20, "alone", "checkpoint.every=null")
    before = untouched(alone)
    with pytest.raises(RunError, match="holds a model and no checkpoint to go on from"):
        run(tmp_path, 1, 30, "alone", "checkpoint.every=null", "train.lambda_=9")
    assert untouched(alone) == before, "a finished run without checkpoints"


def test_a_run_that_diverged_is_not_finished(tmp_path: Path) -> None:
    given = ["train.lr=1.0e+150", "checkpoint.every=1", "train.log_every=1"]
    for _ in range(2):
        with pytest.raises(DivergedError, match=r"try a lower train\.lr"):
            run(tmp_path, 1, 20, "run", *given)
        assert "diverged" in json.loads((tmp_path / "run/result.json").read_text())
        assert not list((tmp_path / "run/checkpoints").glob(".epoch-*"))


def test_a_newer_checkpoint_is_not_begun_anew(whole: dict[int, Path], tmp_path: Path) -> None:
    run_dir = shutil.copytree(whole[1], tmp_path / "run")
    for directory in list_checkpoints(run_dir / "checkpoints"):
        file = directory / "manifest.json"
        file.write_text(file.read_text().replace('"format": 3', '"format": 4'))
    before = untouched(run_dir)
    with pytest.raises(
        CheckpointVersionError, match="has format 4; this version reads up to 3: update cofi_dist"
    ):
        run(tmp_path, 1, 50, "run")
    assert untouched(run_dir) == before


@pytest.mark.parametrize("ranks", [1, 2])
def test_what_cannot_be_read_just_now_is_not_begun_anew(
    ranks: int, whole: dict[int, Path], tmp_path: Path
) -> None:
    run_dir = shutil.copytree(whole[ranks], tmp_path / "run")
    before = untouched(run_dir)
    if ranks == 1:
        with pytest.raises(CheckpointReadError, match="cannot be read: Stale file handle") as error:
            _gone_on_with_stale(SoloComm(), tmp_path)
        assert error.value.exit_code == 1
    else:
        said = run_ranks(ranks, _said_of_stale, tmp_path, tmp=tmp_path)
        assert all("cannot be read: Stale file handle" in text for text in said)
    assert untouched(run_dir) == before


@pytest.mark.parametrize(
    ("work", "name"),
    [
        ("iterdir", "checkpoints"),
        ("glob", "checkpoints"),
        ("unlink", "STOP"),
        ("unlink", "result.json"),
        ("lstat", "metrics.jsonl"),
    ],
)
def test_what_cannot_be_used_just_now_is_one_line(
    work: str, name: str, whole: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = shutil.copytree(whole[1], tmp_path / "run")
    before, works = untouched(run_dir / "checkpoints"), getattr(Path, work)

    def stale(self: Path, *given: Any, **named: Any) -> Any:
        if self == run_dir / name:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return works(self, *given, **named)

    monkeypatch.setattr(Path, work, stale)
    with pytest.raises(CofiError, match=rf"{name}: cannot be .*: Stale file handle"):
        run(tmp_path, 1, 50, "run")
    monkeypatch.undo()
    assert untouched(run_dir / "checkpoints") == before


def _gone_on_with_stale(comm: Comm, tmp_path: Path) -> None:
    opened = os.open

    def stale(path: Any, *given: Any, **named: Any) -> int:
        if str(path).endswith(".safetensors"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return opened(path, *given, **named)

    (tmp_path / "c.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", stale)
        train(tmp_path / "c.yaml", ["train.epochs=50", f"run_dir={tmp_path / 'run'}"], comm, quiet=True)


def _said_of_stale(comm: Comm, tmp_path: Path) -> str:
    try:
        _gone_on_with_stale(comm, tmp_path)
    except CheckpointReadError as error:
        return str(error)
    return "gone on"
