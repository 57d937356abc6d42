"""Rows stay those of their users and items: other ids are refused, however many there are."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from cofi_dist.checkpoint.manifest import list_checkpoints
from cofi_dist.config import DataSection
from cofi_dist.data.ids import IdMap
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.errors import CheckpointError, CofiError, RunError
from cofi_dist.files.signed_json import digest_of
from cofi_dist.model import Model
from cofi_dist.run.train import train
from cofi_dist.testing import run_ranks
from tests.support.runs import run

CONFIG = """
model: {num_features: 2}
train: {epochs: 10, log_every: 10, lr: 0.01}
checkpoint: {every: 10, allow_changes: true}
"""


def prepared(tmp: Path, name: str, user: str = "{}", item: str = "{}") -> Path:
    """Ratings of 12 users on up to 9 items, always the same but for how the ids are written."""
    pairs = [(j, i) for j in range(12) for i in range(j % 7 + 3)]
    rows = [f"{user.format(j + 10)},{item.format(i + 10)},{(j * i) % 5 + 1}" for j, i in pairs]
    file = tmp / f"{name}.csv"
    file.write_text("\n".join(["userId,movieId,rating", *rows]) + "\n")
    with prepare_source(DataSection(ratings=str(file)), tmp / name) as made:
        made.keep(tmp / name)
    return tmp / name


def go(tmp: Path, data: Path, name: str, *overrides: str, comm: Comm | None = None) -> Path:
    if comm is None:  # ranks find the file that the first run was made from
        (tmp / "c.yaml").write_text(CONFIG)
    given = [f"data.prepared={data}", f"run_dir={tmp / name}", *overrides]
    return train(tmp / "c.yaml", given, comm or SoloComm(), quiet=True)


def _go_refused(comm: Comm, tmp: Path, data: Path, name: str, *overrides: str) -> str:
    with pytest.raises(CheckpointError) as error:
        go(tmp, data, name, *overrides, comm=comm)
    return str(error.value)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    ("user", "item", "whose"),
    [("1{}", "{}", "users"), ("{}", "x{}", "items"), ("u{}", "1{}", "users and items")],
)
def test_rows_are_not_given_to_other_users_or_items(
    user: str, item: str, whose: str, ranks: int, tmp_path: Path
) -> None:
    ours, others = prepared(tmp_path, "ours"), prepared(tmp_path, "others", user, item)
    go(tmp_path, ours, "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    checkpoint = list_checkpoints(tmp_path / "run/checkpoints")[0]
    for name, resume in (("run", "auto"), ("new", tmp_path / "run"), ("new", checkpoint)):
        given = (tmp_path, others, name, "train.epochs=20", f"checkpoint.resume={resume}")
        said = (
            run_ranks(ranks, _go_refused, *given, tmp=tmp_path)
            if ranks > 1
            else [_go_refused(SoloComm(), *given)]
        )
        wanted = f"{checkpoint}: holds rows of other {whose} than the ratings do"
        assert all(text.startswith(wanted) for text in said), said
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert after == before
    assert not (tmp_path / "new").exists()


def test_the_same_ids_with_other_ratings_are_allowed_where_told(tmp_path: Path) -> None:
    ours, others = prepared(tmp_path, "ours"), prepared(tmp_path, "others")
    manifest = json.loads((others / "manifest.json").read_text())
    (others / "manifest.json").write_text(json.dumps({**manifest, "fingerprint": "another"}))
    go(tmp_path, ours, "run")
    go(tmp_path, others, "run", "train.epochs=20", "checkpoint.resume=auto")
    with pytest.raises(CheckpointError, match="another problem: the ratings differ"):
        go(
            tmp_path,
            ours,
            "run",
            "train.epochs=30",
            "checkpoint.resume=auto",
            "checkpoint.allow_changes=false",
        )


def as_earlier_build(run_dir: Path) -> None:
    """Its checkpoints, as they were before digests of ids were in them."""
    for directory in list_checkpoints(run_dir / "checkpoints"):
        said = json.loads((directory / "manifest.json").read_text())
        said = {key: value for key, value in said.items() if key not in ("ids", "sha256")} | {"format": 2}
        (directory / "manifest.json").write_text(json.dumps({**said, "sha256": digest_of(said)}))


def test_a_checkpoint_without_digests_is_taken_for_its_own_ratings_alone(tmp_path: Path) -> None:
    ours, others = prepared(tmp_path, "ours"), prepared(tmp_path, "others", "1{}")
    go(tmp_path, ours, "run")
    as_earlier_build(tmp_path / "run")
    with pytest.raises(
        CheckpointError, match="of an earlier build, which did not record whose rows it holds"
    ):
        go(tmp_path, others, "run", "train.epochs=20", "checkpoint.resume=auto")
    go(tmp_path, ours, "run", "train.epochs=20", "checkpoint.resume=auto")
    made_up = run(tmp_path, 1, 20, "made-up")
    as_earlier_build(made_up)
    run(tmp_path, 1, 30, "made-up", "data.synthetic.seed=5", "checkpoint.allow_changes=true")


@pytest.mark.parametrize("name", ["users.parquet", "items.parquet"])
def test_a_model_whose_ids_were_exchanged_is_refused(name: str, tmp_path: Path) -> None:
    run_dir = go(tmp_path, prepared(tmp_path, "ours"), "run")
    ids = getattr(Model.load(run_dir), name.removesuffix(".parquet"))
    IdMap(ids.raw + 1).save(run_dir / "model" / name)
    with pytest.raises(RunError, match="holds other ids than the model was saved with"):
        Model.load(run_dir)


def test_a_model_without_digests_is_read(tmp_path: Path) -> None:
    run_dir = go(tmp_path, prepared(tmp_path, "ours"), "run")
    file = run_dir / "model/factors.safetensors"
    with safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata()
    assert json.loads(metadata.pop("ids")).keys() == {"users", "items"}
    save_file(tensors, file, metadata)
    assert Model.load(run_dir).recommend(10, 1).height == 1


def test_prepared_ratings_whose_ids_were_exchanged_are_refused(tmp_path: Path) -> None:
    ours, others = prepared(tmp_path, "ours"), prepared(tmp_path, "others", "1{}")
    run_dir = go(tmp_path, ours, "run")
    shutil.copy(others / "users.parquet", ours)
    with pytest.raises(RunError, match="holds other ids than were prepared; prepare it again"):
        StoredRatings(ours)
    # prepared by an earlier build: its manifest has no digests
    manifest = json.loads((ours / "manifest.json").read_text())
    del manifest["ids"]
    (ours / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="the model's ids are not those of its ratings"):
        Model.load(run_dir).rated(run_dir)


@pytest.mark.parametrize(
    "others",
    [["1", "2"], [2, 1], [1, 2, 3], [1], [12]],
)
def test_a_digest_is_of_every_id_in_its_place(others: list[int | str]) -> None:
    assert IdMap(pl.Series("id", [1, 2])).digest == IdMap(pl.Series("raw", [1, 2])).digest
    assert IdMap(pl.Series("id", [1, 2])).digest != IdMap(pl.Series("id", others)).digest
    assert IdMap(pl.Series("id", ["a", "bc"])).digest != IdMap(pl.Series("id", ["ab", "c"])).digest


def test_fewer_epochs_than_were_trained_are_refused(tmp_path: Path) -> None:
    run_dir = run(tmp_path, 1, 30, "run")
    config = (run_dir / "config.yaml").read_text()
    for name, resume in (("run", "auto"), ("new", run_dir)):
        with pytest.raises(
            CofiError, match=r"is of epoch 30, beyond train\.epochs: 20; set train\.epochs to 30"
        ):
            run(tmp_path, 1, 20, name, f"checkpoint.resume={resume}")
    assert (run_dir / "config.yaml").read_text() == config
    assert not (tmp_path / "new").exists()


def test_as_many_epochs_as_were_trained_are_said_to_be_done(tmp_path: Path) -> None:
    run_dir = run(tmp_path, 1, 30, "run")
    shutil.rmtree(run_dir / "model")
    for name, resume in (("run", "auto"), ("new", run_dir)):
        again = run(tmp_path, 1, 30, name, f"checkpoint.resume={resume}")
        log = (again / "train.log").read_text()
        assert "nothing is left to train: that is of epoch 30, the last by train.epochs; set it higher" in log
        assert (again / "model").is_dir()


@pytest.mark.parametrize("epochs", [10, 20], ids=["finished", "to go on"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "data.ratings=others.csv",
            "prepared with data.ratings: ours.csv, and stay so, but data.ratings is others.csv",
        ),
        ("data.test={}", "prepared with data.test"),
        ("data.min_user_ratings=2", "prepared with data.min_user_ratings: 1"),
    ],
)
def test_a_run_does_not_say_that_it_is_of_ratings_it_did_not_prepare(
    change: str, says: str, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ours", "others"):
        shutil.rmtree(prepared(tmp_path, name))
    (tmp_path / "c.yaml").write_text(CONFIG)
    given = [f"run_dir={tmp_path / 'run'}", "checkpoint.resume=auto"]
    train(tmp_path / "c.yaml", [*given, "data.ratings=ours.csv"], SoloComm(), quiet=True)
    config = (tmp_path / "run/config.yaml").read_text()
    ratings = [] if change.startswith("data.ratings") else ["data.ratings=ours.csv"]
    with pytest.raises(CheckpointError, match=says):
        train(
            tmp_path / "c.yaml", [*given, *ratings, change, f"train.epochs={epochs}"], SoloComm(), quiet=True
        )
    assert (tmp_path / "run/config.yaml").read_text() == config
    same = [f"data.ratings={tmp_path / 'ours.csv'}", f"train.epochs={epochs}"]
    train(tmp_path / "c.yaml", [*given, *same], SoloComm(), quiet=True)
