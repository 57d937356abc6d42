"""A run that starts from a model has the model's rows, by their ids."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cofi_dist.config import load_config
from cofi_dist.data.ids import IdMap
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.errors import CheckpointError, CofiError
from cofi_dist.factors import Factors
from cofi_dist.model import Model
from cofi_dist.model.arrays import ModelArrays
from cofi_dist.run.directory import RunDirectory
from cofi_dist.run.start_model import read_on_all_ranks
from cofi_dist.run.stop import StopRequest
from cofi_dist.run.train import train_config
from cofi_dist.run.training_run import Manner
from cofi_dist.testing import run_ranks
from cofi_dist.tuning.grid import points, tune
from tests.support.warm_starts import CONFIG, bits_of, model_of, started

NUM_USERS, NUM_ITEMS = 60, 40
ALL = list(range(NUM_USERS)), list(range(NUM_ITEMS))
# Adam's steps of this length change no bit of a factor that is not 0.
STILL = ["train.lr=1.0e-300", "train.epochs=1"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "run.yaml").write_text(CONFIG)
    return tmp_path / "run.yaml"


def _train(file: Path, *overrides: str, start: Model | None = None, **keys: Any) -> Path:
    config = load_config(file, overrides)
    run = RunDirectory(config.run_dir)
    train_config(config, run, SoloComm(), StopRequest(), Manner(), file=file, start=start, **keys)
    return run.path


def _log_of(run: Path) -> str:
    return (run / "train.log").read_text()


_ids = st.sets(st.integers(0, 30), min_size=1, max_size=12)


@given(
    old_users=_ids,
    old_items=_ids,
    pairs=st.sets(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=30),
    as_text=st.booleans(),
    unrated=st.integers(0, 11),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_row_goes_to_its_own_id(
    old_users: set[int],
    old_items: set[int],
    pairs: set[tuple[int, int]],
    as_text: bool,
    unrated: int,
    tmp_path: Path,
) -> None:
    """Ids are added, removed and, as text, ordered otherwise than as numbers."""
    shutil.rmtree(tmp_path / "prepared", ignore_errors=True)
    lines = [f"{user},{item},{1 + (user + item) % 5}" for user, item in sorted(pairs)]
    (tmp_path / "r.csv").write_text("\n".join(["userId,movieId,rating", *lines]) + "\n")
    (tmp_path / "run.yaml").write_text(
        CONFIG.replace(
            "synthetic: {num_users: 60, num_items: 40, num_ratings: 900}", f"ratings: {tmp_path / 'r.csv'}"
        )
    )
    known_users = sorted(map(str, old_users)) if as_text else sorted(old_users)
    known_items = sorted(map(str, old_items)) if as_text else sorted(old_items)
    model = model_of(tmp_path, known_users, known_items)
    unknown = unrated % len(old_users)
    model.user_counts[unknown] = 0
    found = started(SoloComm(), tmp_path / "run.yaml", [], model)
    got, was = bits_of(found.factors), bits_of(model.factors)
    users, items = found.problem.source.ids
    for ids, old, rows in ((users, model.users, ("W", "b")), (items, model.items, ("X", "c"))):
        row_of = {str(raw): row for row, raw in enumerate(old.raw)}
        if ids is users:
            del row_of[str(old.raw[unknown])]
        here = [(new, row_of[str(raw)]) for new, raw in enumerate(ids.raw) if str(raw) in row_of]
        for name in rows:
            for new, row in here:
                assert (got[name][new] == was[name][row]).all(), (name, new)
        counts = f"{len(here)} found, {len(ids) - len(here)} new, {len(row_of) - len(here)} gone"
        assert counts in found.notes[0]


@pytest.mark.parametrize("how", ["run", "model directory", "object"])
def test_a_run_starts_from_a_run_its_model_or_an_object(how: str, file: Path, tmp_path: Path) -> None:
    old = _train(file, f"run_dir={tmp_path / 'old'}", "train.epochs=5")
    model = Model.load(old)
    assert model.factors.c is not None
    assert bool(model.factors.c.all()), "no bit is left to be set by a step of 1e-300"
    start = {"run": [f"train.start={old}"], "model directory": [f"train.start={old / 'model'}"], "object": []}
    given = [f"run_dir={tmp_path / 'new'}", *STILL, *start[how]]
    new = _train(file, *given, start=model if how == "object" else None)
    for name, tensor in bits_of(Model.load(new).factors).items():
        assert (tensor == bits_of(model.factors)[name]).all(), name
    assert "users 60 found, 0 new, 0 gone; items 40 found, 0 new, 0 gone" in _log_of(new)


def test_a_resumed_run_does_not_start_again(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model_of(tmp_path, *ALL).save(tmp_path / "model")
    given = ["run_dir=run", "train.start=model", "checkpoint={resume: auto, every: 3}"]
    _train(file, *given, "train.epochs=3")
    assert load_config(tmp_path / "run" / "config.yaml").train.start == str(tmp_path / "model")
    shutil.rmtree(tmp_path / "model")
    _train(file, *given, "train.epochs=6")
    assert "gone on with from" in _log_of(tmp_path / "run")
    assert _log_of(tmp_path / "run").count("started from") == 1


@pytest.mark.parametrize(
    ("of_model", "of_run", "said"),
    [
        ([], ["model.num_features=5"], "has 4 features, but model.num_features is 5; set it to 4"),
        (
            ["data.feedback=implicit"],
            [],
            "was trained with data.feedback: implicit, but the run's is explicit",
        ),
        ([], ["model.item_bias=false"], "has item biases, which model.item_bias: false would drop"),
        ([], ["model.user_bias=false"], "has user biases, which model.user_bias: false would drop"),
        (
            [],
            ["data.synthetic.num_users=3", "data.synthetic.num_items=3", "data.synthetic.num_ratings=5"],
            "",
        ),
    ],
    ids=["features", "feedback", "item bias", "user bias", "no common ids"],
)
@pytest.mark.parametrize("as_object", [False, True])
def test_a_model_that_does_not_fit_is_refused_before_anything_is_touched(
    of_model: list[str], of_run: list[str], said: str, as_object: bool, file: Path, tmp_path: Path
) -> None:
    ids = ALL if said else ([100, 101], [200, 201])
    said = said or "knows none of the users and items of these ratings, by their ids"
    model = model_of(tmp_path, *ids, *of_model)
    model.save(tmp_path / "model")
    given = [f"run_dir={tmp_path / 'new'}", *of_run]
    name = "start" if as_object else f"train.start: {tmp_path / 'model'}"
    with pytest.raises(CofiError) as error:
        if as_object:
            _train(file, *given, start=model)
        else:
            _train(file, *given, f"train.start={tmp_path / 'model'}")
    assert str(error.value).startswith(f"{name}: {said}")
    assert not (tmp_path / "new").exists()


def _damaged(tmp: Path) -> Path:
    model_of(tmp, *ALL).save(tmp / "damaged")
    factors = tmp / "damaged" / "factors.safetensors"
    factors.write_bytes(factors.read_bytes()[:-9])
    return tmp / "damaged"


def _of_a_file(tmp: Path) -> list[str]:
    (tmp / "r.csv").write_text("userId,movieId,rating\n1,1,3\n1,2,4\n2,1,5\n")
    return ["data.synthetic=null", f"data.ratings={tmp / 'r.csv'}"]


def _unfinished(file: Path, tmp: Path, *given: str) -> Path:
    run = _train(file, f"run_dir={tmp / 'old'}", "train.epochs=4", *given)
    shutil.rmtree(run / "model")
    return run


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda file, tmp: tmp / "none", "no such directory; give that of a run or of a model"),
        (lambda file, tmp: file, "run.yaml: is a file; give the directory of a run or of a model"),
        (
            lambda file, tmp: tmp,
            "model/factors.safetensors: no such file; is this the directory of a finished run?",
        ),
        (
            lambda file, tmp: _train(file, f"run_dir={tmp / 'old'}", STILL[1], *_of_a_file(tmp)) / "data",
            "old/data/model/factors.safetensors: no such file; is this the directory of a finished run?",
        ),
        (lambda file, tmp: _damaged(tmp), "factors.safetensors: "),
        (
            _unfinished,
            "old: is a run without a model; start from one that has finished",
        ),
        (
            lambda file, tmp: _unfinished(file, tmp, "checkpoint.every=2"),
            "is a run without a model; checkpoint.resume=RUN starts from its last checkpoint",
        ),
        (
            lambda file, tmp: _unfinished(file, tmp, "checkpoint.every=2") / "checkpoints" / "epoch-00000004",
            "is a checkpoint, not a model; checkpoint.resume=RUN starts a run from it",
        ),
    ],
    ids=[
        "nothing",
        "file",
        "no model",
        "prepared",
        "damaged",
        "unfinished",
        "with checkpoints",
        "checkpoint",
    ],
)
def test_what_is_not_a_model_is_refused_before_anything_is_touched(
    make: Callable[[Path, Path], Path], said: str, file: Path, tmp_path: Path
) -> None:
    start = make(file, tmp_path)
    new = _train(file, f"run_dir={tmp_path / 'new'}", "train.epochs=2")
    before = {path: path.read_bytes() for path in new.rglob("*") if path.is_file()}
    with pytest.raises(CofiError) as error:
        _train(file, f"run_dir={new}", f"train.start={start}", replace=True)
    assert str(error.value).startswith("train.start: ")
    assert said.replace("RUN", str(start)) in str(error.value)
    assert before == {path: path.read_bytes() for path in new.rglob("*") if path.is_file()}


def test_a_run_cannot_replace_the_model_that_it_starts_from(file: Path, tmp_path: Path) -> None:
    old = _train(file, f"run_dir={tmp_path / 'old'}", "train.epochs=2")
    for start in (old, old / "model"):
        with pytest.raises(CofiError, match=r"would overwrite its own input .*; give another run_dir"):
            _train(file, f"run_dir={old}", f"train.start={start}", replace=True)
    with pytest.raises(
        CheckpointError, match=r"holds a finished run of another problem: train\.start differ"
    ):
        _train(file, f"run_dir={old}", f"train.start={old}", "train.epochs=2", "checkpoint.resume=auto")
    assert Model.load(old)


def test_a_run_starts_from_one_thing(file: Path, tmp_path: Path) -> None:
    model = model_of(tmp_path, *ALL)
    model.save(tmp_path / "model")
    given = [f"run_dir={tmp_path / 'new'}"]
    for other in (f"train.start={tmp_path / 'model'}", f"checkpoint.resume={tmp_path / 'model'}"):
        with pytest.raises(CofiError, match="start: a run starts from one model or checkpoint"):
            _train(file, *given, other, start=model)
    assert not (tmp_path / "new").exists()


def _first_cost(run: Path) -> float:
    return float(json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["cost"])


@pytest.mark.parametrize(
    "how",
    [["train.cost=dense"], ["train.optimizer=als"], ["train.optimizer=als", "train.solver=exact"]],
    ids=["dense", "als", "exact als"],
)
def test_every_way_of_training_starts_lower_than_from_a_draw(
    how: list[str], file: Path, tmp_path: Path
) -> None:
    old = Model.load(_train(file, f"run_dir={tmp_path / 'old'}", "train.optimizer=als", "train.epochs=20"))
    # the last 10 users and the first 7 items are forgotten
    factors = old.factors
    assert factors.c is not None
    part = replace(
        old,
        arrays=ModelArrays.of(
            Factors(factors.X[7:], factors.W[:50], factors.b[:, :50], factors.c[:, 7:]),
            item_means=old.arrays.item_means[7:],
            item_counts=old.arrays.item_counts[7:],
            user_counts=old.arrays.user_counts[:50],
        ),
        users=IdMap(old.users.raw[:50]),
        items=IdMap(old.items.raw[7:]),
    )
    given = ["train.epochs=1", *how]
    cold = _first_cost(_train(file, f"run_dir={tmp_path / 'cold'}", *given))
    warm = _first_cost(_train(file, f"run_dir={tmp_path / 'warm'}", *given, start=part))
    converged = _first_cost(_train(file, f"run_dir={tmp_path / 'whole'}", *given, start=old))
    assert converged < warm < converged + (cold - converged) / 5


def _read(comm: Comm, paths: list[Path]) -> str:
    with pytest.raises(CofiError) as error:
        read_on_all_ranks(paths[comm.rank], comm)
    return f"{error.value.shared} {error.value}"


def test_a_model_that_one_rank_cannot_read_or_has_otherwise_is_refused_on_all(tmp_path: Path) -> None:
    for name, users in (("one", ALL[0]), ("other", ALL[0][1:])):
        model_of(tmp_path, users, ALL[1]).save(tmp_path / name)
    away = run_ranks(2, _read, [tmp_path / "one", tmp_path / "away"], tmp=tmp_path)
    assert (
        away
        == [f"True train.start: {tmp_path / 'away'}: no such directory; give that of a run or of a model"] * 2
    )
    differ = run_ranks(2, _read, [tmp_path / "one", tmp_path / "other"], tmp=tmp_path)
    assert all(
        "is another one for rank 1 than for rank 0" in text and text.startswith("True") for text in differ
    ), differ


def test_all_points_of_a_grid_start_from_the_model(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model_of(tmp_path, *ALL).save(tmp_path / "model")
    given = ["train.start=model", *STILL, "data.validation={}", "validation.every=1"]
    grid = points(file, ["train.lambda_=1,2"], given, tmp_path / "grid")
    for _ in range(2):  # the second time, there is nothing to do
        tune(file, grid, given, SoloComm())
    for point in grid:
        assert _log_of(point.run_dir).count("started from") == 1


def test_owners_of_items_take_their_rows_of_the_model(file: Path, tmp_path: Path) -> None:
    """New ones are said to start at random, as no rank has what they would be solved from."""
    old = _train(file, f"run_dir={tmp_path / 'old'}", "train.epochs=3")
    sharded = ["train.items=sharded", "train.item_block=7", f"train.start={old}", *STILL]
    new = _train(file, f"run_dir={tmp_path / 'new'}", *sharded)
    before, after = (bits_of(Model.load(run).factors) for run in (old, new))
    for name, rows in before.items():
        assert (rows == after[name]).all(), name
    fewer = model_of(tmp_path, ALL[0][:50], ALL[1][:30])
    log = _log_of(_train(file, f"run_dir={tmp_path / 'more'}", *sharded[:2], *STILL, start=fewer))
    assert "10 new users and 10 new items are not solved for with train.items: sharded" in log
