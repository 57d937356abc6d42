"""The model on disk."""

import math
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch

from cofi_dist.config import Columns, Config, load_config
from cofi_dist.data.ids import IdMap
from cofi_dist.errors import DataError, RunError
from cofi_dist.model import Model, TrainingDataFacts
from tests.support.problems import random_factors


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "c.yaml").write_text("data: {ratings: r.csv}\n")
    config: Config = load_config(tmp_path / "c.yaml")
    means = torch.arange(5, dtype=torch.float64)
    users = IdMap(pl.Series("id", ["ann", "bob", "zoe"]))
    of_items = torch.tensor([2.0, 0.0, 1.0, 1.0, 3.0], dtype=torch.float64)
    of_users = torch.tensor([4.0, 0.0, 3.0], dtype=torch.float64)
    facts = TrainingDataFacts(3.5, 0.5, 5.0, "sha256:00", Columns(user="who"))
    factors = random_factors(5, 3, 2, torch.float32)
    return Model(factors, means, of_items, of_users, facts, users, IdMap.rows(5), config)


def test_a_model_that_is_not_finite_takes_no_good_ones_place(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    good = Model.load(tmp_path / "m").factors.W
    for tensor in model.tensors.values():
        before = tensor.view(-1)[0].item()
        tensor.view(-1)[0] = math.nan
        with pytest.raises(RunError, match="holds a number that is not finite; nothing was written"):
            model.save(tmp_path / "m", replace=True)
        tensor.view(-1)[0] = before
    assert torch.equal(Model.load(tmp_path / "m").factors.W, good)


def test_a_saved_model_is_loaded_bit_for_bit(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    for name in ("X", "W", "b"):
        assert torch.equal(getattr(again.factors, name), getattr(model.factors, name))
    for name in ("item_means", "item_counts", "user_counts"):
        assert torch.equal(getattr(again, name), getattr(model, name))
    assert again.facts == model.facts
    assert again.users.raw.to_list() == ["ann", "bob", "zoe"]
    assert again.items.raw.to_list() == [0, 1, 2, 3, 4]
    assert again.config == model.config


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda d: (d / "factors.safetensors").unlink(),
            "no such file; is this the directory of a finished run",
        ),
        (lambda d: (d / "factors.safetensors").write_bytes(b"\x80\x04junk"), "is no safetensors file"),
        (lambda d: (d / "users.parquet").write_bytes(b"junk"), "is not an id map"),
        (lambda d: IdMap.rows(9).save(d / "users.parquet"), "holds 9 ids, not the 3 of what they belong to"),
        (lambda d: (d / "config.yaml").unlink(), "cannot be read"),
    ],
    ids=["no factors", "junk factors", "junk ids", "other ids", "no config"],
)
def test_a_damaged_model_is_refused_in_one_line(
    damage: object, says: str, model: Model, tmp_path: Path
) -> None:
    model.save(tmp_path / "m")
    damage(tmp_path / "m")  # type: ignore[operator]
    with pytest.raises(Exception, match=says) as caught:
        Model.load(tmp_path / "m")
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_line_and_leaves_nothing(model: Model, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))  # as a full disk, after 16 bytes
    try:
        with pytest.raises(RunError, match="cannot be written"):
            model.save(tmp_path / "m")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not (tmp_path / "m").exists()


GOOD = pl.DataFrame({"user": ["ann"], "item": [1], "value": [3.0]})


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: m.predict([1, "a"], [1, 2]), "these are no ids"),
        (lambda m: m.predict("1", "318"), "'318' is one id; give a list of ids"),
        (lambda m: m.recommend("ann", 2, exclude="3"), "'3' is one id; give a list of ids"),
        (lambda m: m.recommend("ann", 2.5), "k is 2.5; ask for a whole number, at least 1"),
        (lambda m: m.recommend("ann", "3"), "k is '3'; ask for a whole number"),
        (lambda m: m.recommend("ann", True), "k is True; ask for a whole number"),
        (lambda m: list(m.recommend_all(3, users_at_once=-3)), "users_at_once is -3; ask for a whole number"),
        (lambda m: m.similar_items(0, min_ratings="a"), "min_ratings is 'a'; ask for a whole number"),
        (lambda m: m.fold_in([1], 5.0), "not an array of 0 dimensions"),
        (lambda m: m.fold_in([1], [[5.0]]), "not an array of 2 dimensions"),
        (lambda m: m.evaluate(None), "ratings come as a polars DataFrame, not NoneType"),
        (lambda m: m.evaluate(GOOD, relevant=math.nan), "relevant is nan; give a rating"),
        (lambda m: m.predict([1.5], [1]), "ids are integers or text, not Float64"),
        (lambda m: m.recommend([1, 2]), r"\[1, 2\] is not the id of one user"),
        (lambda m: m.recommend(1.5), "1.5 is not the id of one user"),
        (lambda m: m.recommend(None), "None is not the id of one user"),
        (lambda m: m.similar_items(2.5), "2.5 is not the id of one item"),
        (lambda m: m.fold_in(["x"], ["y"]), "ratings are numbers: "),
        (lambda m: m.fold_in([1], [None]), "is not a finite number"),
        (lambda m: m.evaluate(pl.DataFrame({"user": [1]})), "ratings need the columns user, item and value"),
        (
            lambda m: m.evaluate(pl.DataFrame({"user": [1], "item": [1], "value": ["x"]})),
            "the column value holds numbers, not String",
        ),
        (
            lambda m: m.evaluate(pl.DataFrame({"user": [1], "item": [1], "value": [None]})),
            "the column value holds numbers, not Null",
        ),
        (
            lambda m: m.evaluate(pl.DataFrame({"user": [1.5], "item": [1], "value": [3.0]})),
            "ids are integers or text, not Float64",
        ),
    ],
)
def test_a_wrong_argument_is_one_line(call: Callable[[Model], object], says: str, model: Model) -> None:
    with pytest.raises(DataError, match=says) as error:
        call(model)
    assert "\n" not in str(error.value)
