"""A project that is moved or copied: the ratings are found beside the run, or named, and never others."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cofi_dist.config import DataSection
from cofi_dist.data.ids import IdMap
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.errors import CofiError, DataError
from cofi_dist.model import Model
from cofi_dist.model.run_ratings import require_same_rows
from cofi_dist.run.train import train


def prepared(directory: Path, value: int = 3) -> None:
    file = directory.with_suffix(".csv")
    rows = [f"{j},{i},{(value + j * i) % 5 + 1}" for j in range(9) for i in range(j % 5 + 2)]
    file.write_text("\n".join(["userId,movieId,rating", *rows]) + "\n")
    with prepare_source(DataSection(ratings=str(file)), directory) as made:
        made.keep(directory)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with prepared ratings and a run, whose config has relative paths."""
    project = tmp_path / "project"
    project.mkdir()
    prepared(project / "ready")
    (project / "c.yaml").write_text(
        "data: {prepared: ready}\nrun_dir: runs/one\nmodel: {num_features: 2}\ntrain: {epochs: 3}\n"
    )
    monkeypatch.chdir(project)
    train(Path("c.yaml"), [], SoloComm(), quiet=True)
    monkeypatch.chdir(tmp_path)
    return project


def test_of_a_moved_project_the_ratings_are_found_beside_the_run(project: Path, tmp_path: Path) -> None:
    assert Model.load(project / "runs/one").rated(project / "runs/one").note == ""
    moved = project.rename(tmp_path / "moved")
    for run in (moved / "runs/one", moved / "runs/one/model", Path("moved/runs/one")):
        rated = Model.load(run).rated(run)
        assert len(rated.items_of(4)) == 6
        assert rated.note.startswith(f"{project}/ready")
        assert rated.note.endswith(f"; taken from {moved}/ready, beside the run")


def test_a_copy_takes_its_own_ratings_where_the_first_ones_have_changed(
    project: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(project, tmp_path / "copy")
    shutil.rmtree(project / "ready")
    prepared(project / "ready", value=4)
    note = Model.load(copy / "runs/one").rated(copy / "runs/one").note
    assert note.startswith(f"{project}/ready: holds other ratings")
    assert f"taken from {copy}/ready" in note


def test_other_ratings_beside_the_run_are_not_taken(project: Path, tmp_path: Path) -> None:
    moved = project.rename(tmp_path / "moved")
    ready = (moved / "ready").rename(tmp_path / "elsewhere")
    prepared(moved / "ready", value=4)
    model, run = Model.load(moved / "runs/one"), moved / "runs/one"
    with pytest.raises(CofiError, match=rf"{project}/ready.*; if they were moved, .* take --prepared DIR"):
        model.rated(run)
    with pytest.raises(CofiError, match="moved/ready: holds other ratings"):
        model.rated(run, moved / "ready")
    assert len(model.rated(run, ready).items_of(4)) == 6


def test_a_model_that_was_saved_by_itself_has_no_ratings(project: Path, tmp_path: Path) -> None:
    model = Model.load(project / "runs/one")
    model.save(tmp_path / "saved")
    assert len(Model.load(tmp_path / "saved").rated().items_of(4)) == 6, "where they were during training"
    (project / "ready").rename(tmp_path / "elsewhere")
    with pytest.raises(CofiError, match=r"saved: this model has come without its ratings, .* name the dir"):
        Model.load(tmp_path / "saved").rated()


@pytest.mark.parametrize("changed", ["users", "items"])
def test_ratings_of_a_model_with_other_rows_are_refused(project: Path, changed: str) -> None:
    """Yesterday's ratings beside today's model would leave out what other users have rated."""
    model = Model.load(project / "runs/one")
    rated = model.rated()
    assert require_same_rows(rated, IdMap(model.users.raw.clone()), model.items) is rated
    others = IdMap(getattr(model, changed).raw + 1)
    changes: dict[str, Any] = {changed: others}
    other = replace(model, **changes)
    message = f"rated has other {changed} than the model; give what this model's rated"
    user, table = other.users.raw[0], (other.users.raw[:1], other.items.raw[:1], [3.0])
    with pytest.raises(DataError, match=message):
        other.recommend(user, rated=rated)
    with pytest.raises(DataError, match=message):
        next(other.recommend_all(rated=rated))
    with pytest.raises(DataError, match=message):
        other.evaluate(table, rated)
    with pytest.raises(DataError, match="rated is of type str; give what"):
        model.recommend(user, rated="runs/one")  # type: ignore[arg-type]
