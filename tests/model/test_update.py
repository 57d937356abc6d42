"""An update moves the rows that new ratings touch to where J is lowest, and no bit of the others."""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import cofi_dist
from cofi_dist.config import resolve
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.errors import CofiError, DataError
from cofi_dist.factors import Factors
from cofi_dist.model import Model, RunRatings, TrainingDataFacts
from cofi_dist.model.arrays import ModelArrays
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.update import row_solver

K = 3
Array = np.ndarray[Any, np.dtype[np.float64]]


def some_ratings(num_users: int, num_items: int, count: int, seed: int) -> pl.DataFrame:
    """Different pairs of users 0, 2, 4, ... and items 100, 102, ..., with room between the ids."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(num_users * num_items, count, replace=False)
    return pl.DataFrame(
        {
            "u": 2 * (cells // num_items),
            "i": 100 + 2 * (cells % num_items),
            "r": rng.integers(1, 11, count) / 2,
            "w": rng.integers(1, 4, count) / 2,
        }
    )


def model_of(tmp: Path, table: pl.DataFrame, dtype: torch.dtype = torch.float64, **sections: Any) -> Model:
    """A model of random factors and these ratings."""
    keys = dict(sections.pop("data", {}))
    columns = {"user": "u", "item": "i", "rating": "r"} | ({"weight": "w"} if keys.pop("weighted", 0) else {})
    table.write_csv(tmp / "old.csv")
    name = "float32" if dtype == torch.float32 else "float64"
    values = {
        "data": {"ratings": str(tmp / "old.csv"), "columns": columns, **keys},
        "train": {"dtype": name, **sections.get("train", {})},
        "model": {"num_features": K, **sections.get("model", {})},
    }
    config = resolve(values, run_dir=str(tmp / "run"))
    with prepare_source(config.data, tmp / "data") as ready:
        ready.keep(tmp / "data")
    source = StoredRatings(tmp / "data")
    rng = torch.Generator().manual_seed(0)
    M, U = source.num_items, source.num_users
    shapes = (M, K), (U, K), (1, U), (1, M)
    X, W, b, c = (torch.randn(*shape, generator=rng, dtype=dtype) for shape in shapes)
    is_implicit = config.data.feedback == "implicit"
    means = source.item_sums.total / source.item_sums.weight
    return Model(
        arrays=ModelArrays.of(
            Factors(X, W, b * config.model.user_bias, c if config.model.item_bias else None),
            item_means=means * (not is_implicit),
            item_counts=source.item_sums.count,
            user_counts=source.training_ratings_per_user().astype(np.float64),
        ),
        facts=TrainingDataFacts(
            *((0.0, -math.inf, math.inf) if is_implicit else (3.0, *source.scale)),
            source.fingerprint(),
            source.columns,
            feedback=source.feedback,
        ),
        users=source.ids[0],
        items=source.ids[1],
        config=config,
        ratings=RunRatings(source, source.ids),
    )


def dense(model: Model) -> tuple[Array, Array, Array]:
    """Target, weight and whether it is known of each pair of item and user, (M, U)."""
    shape = len(model.items), len(model.users)
    y, c, known = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    ratings = model.rated().load(UserRange(0, shape[1]))
    at = ratings.item, ratings.user
    alpha = model.config.train.alpha
    y[at] = 1 if alpha is not None else ratings.value - model.item_means.numpy()[ratings.item]
    given = np.ones(len(ratings)) if ratings.weight is None else ratings.weight
    c[at] = 1 + alpha * ratings.value if alpha is not None else given
    known[at] = True
    return y, np.where(known, c, model.config.train.unknown_weight), known


def solved_rows_reference(
    y: Array,
    c: Array,
    known: Array,
    model: Model,
    fixed: Array,
    offset: Array,
    rows: np.ndarray[Any, np.dtype[np.int64]],
    *,
    has_bias: bool,
) -> Array:
    """The minimum of each row of a dense problem, (rows, K + 1); y, c and known are (rows, fixed rows)."""
    train = model.config.train
    f = np.column_stack([fixed, np.ones(len(fixed))])[:, : K + has_bias]
    found = np.zeros((len(rows), K + 1))
    for place, row in enumerate(rows):
        n = max(known[row].sum() + train.unknown_weight * len(fixed), 1)
        penalty = np.full(f.shape[1], train.lambda_ * n**train.lambda_power)
        penalty[K:] = train.lambda_b
        A = f.T @ (c[row][:, None] * f) + np.diag(penalty)
        found[place, : f.shape[1]] = np.linalg.solve(A, f.T @ (c[row] * (y[row] - offset)))
    return found


KINDS: dict[str, dict[str, Any]] = {
    "explicit": {},
    "item biases": {
        "model": {"item_bias": True},
        "train": {"lambda_": 0.3, "lambda_b": 0.2, "lambda_power": 0.5},
    },
    "weighted": {"data": {"weighted": True, "centre": "damped_item_mean"}},
    "no user biases": {"model": {"user_bias": False, "item_bias": True}},
    "unknown pairs": {"train": {"unknown_weight": 0.1, "lambda_power": 1.0, "lambda_": 0.01}},
    "implicit": {
        "data": {"feedback": "implicit"},
        "train": {"alpha": 2.0, "unknown_weight": 0.3, "lambda_power": 1},
    },
    "float32": {"dtype": torch.float32, "model": {"item_bias": True}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_touched_rows_are_where_a_dense_reference_has_its_minimum(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_solver, "BATCH_NUMBERS", 40)  # several batches, and long rows in pieces
    model = model_of(tmp_path, some_ratings(12, 15, 110, 0), **KINDS[kind])
    # ids between those before, at both ends, and ratings again
    new = some_ratings(14, 17, 14, 1).with_columns(u=pl.col("u") - 1 + pl.col("i") // 2 % 2)
    updated = model.update(new)
    y, c, known = dense(updated)
    users, items = (
        ids.find(new[name].unique().sort()) for ids, name in ((updated.users, "u"), (updated.items, "i"))
    )
    old_users, old_items = updated.users.find(model.users.raw), updated.items.find(model.items.raw)
    X, W = np.zeros((len(updated.items), K + 1)), np.zeros((len(updated.users), K + 1))
    X[old_items] = np.column_stack([model.factors.X, model.factors.item_bias_or_zeros()])
    W[old_users] = np.column_stack([model.factors.W, model.factors.b[0]])
    has_b, has_c = model.config.model.user_bias, model.config.model.item_bias
    halves = (y.T, c.T, known.T, updated), (y, c, known, updated)
    W[users] = solved_rows_reference(*halves[0], X[:, :K], X[:, K], users, has_bias=has_b)
    X[items] = solved_rows_reference(*halves[1], W[:, :K], W[:, K], items, has_bias=has_c)
    W[users] = solved_rows_reference(*halves[0], X[:, :K], X[:, K], users, has_bias=has_b)
    f, tolerance = updated.factors, 2e-4 if kind == "float32" else 1e-9
    np.testing.assert_allclose(np.column_stack([f.W, f.b[0]]), W, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        np.column_stack([f.X, f.item_bias_or_zeros()]), X, rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("kind", KINDS)
def test_untouched_rows_stay_bit_for_bit(kind: str, tmp_path: Path) -> None:
    model = model_of(tmp_path, some_ratings(12, 15, 110, 0), **KINDS[kind])
    new = some_ratings(14, 17, 6, 1)
    updated = model.update(new)
    rows = {
        side: (was, now)
        for side, ids, name in (("users", model.users, "u"), ("items", model.items, "i"))
        for was in [np.flatnonzero(~ids.raw.is_in(new[name].unique().implode()).to_numpy())]
        for now in [getattr(updated, side).find(ids.raw[was])]
    }
    assert all(len(was) > 3 for was, _ in rows.values())
    for name, before in model.tensors.items():
        was, now = rows["users" if name in ("W", "b", "user_counts") else "items"]
        kept, moved = (
            tensor[0] if name in ("b", "c") else tensor for tensor in (before, updated.tensors[name])
        )
        assert torch.equal(kept[torch.tensor(was)], moved[torch.tensor(now)]), name


NEW = {"u": [1, 70], "i": [100, 101], "r": [1.0, 2.5], "w": [1.0, 0.5]}


@pytest.mark.parametrize(
    "data", [{"feedback": "explicit"}, {"feedback": "implicit"}], ids=lambda d: d["feedback"]
)
def test_made_up_ratings_have_row_numbers_as_ids(data: dict[str, Any]) -> None:
    shape = {"num_users": 20, "num_items": 30, "num_ratings": 150}
    model = cofi_dist.fit(
        data={"synthetic": shape, "test": {}, **data},
        model={"num_features": 4},
        train={"optimizer": "als", "epochs": 2},
        progress=False,
    )
    before = {name: tensor.clone() for name, tensor in model.tensors.items()}
    updated = model.update((np.array([3, 25]), np.array([29, 99]), np.array([4.0, 5.0])))
    assert (updated.users.raw[-1], updated.items.raw[-1]) == (25, 99)
    assert (len(updated.users), len(updated.items)) == (21, 31)
    assert updated.rated().parts == ("train", "test")
    assert updated.history.is_empty()
    assert all(torch.equal(tensor, model.tensors[name]) for name, tensor in before.items()), (
        "it is left as it is"
    )
    assert updated.rated().items_of(25).to_list() == [99]
    again = updated.update((np.array([25]), np.array([3]), np.array([2.0])))
    assert sorted(again.rated().items_of(25).to_list()) == [3, 99]


def test_a_global_mean_stays_for_all_items(tmp_path: Path) -> None:
    model = model_of(tmp_path, some_ratings(12, 15, 110, 0), data={"centre": "global_mean"})
    model = replace(
        model, arrays=replace(model.arrays, item_means=np.full_like(model.arrays.item_means, 2.75))
    )
    assert set(model.update(pl.DataFrame(NEW)).item_means.tolist()) == {2.75}


def test_the_config_of_an_update_names_no_model_to_start_from(tmp_path: Path) -> None:
    model = model_of(tmp_path, some_ratings(8, 5, 30, 0), train={"start": str(tmp_path)})
    assert model.update(some_ratings(8, 5, 3, 1)).config.train.start is None


def test_what_was_joined_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = model_of(tmp_path, some_ratings(12, 15, 110, 0))
    with caplog.at_level(logging.INFO, "cofi_dist"):
        model.update(pl.DataFrame({"u": [0, 1, 2], "i": [100, 100, 101], "r": [1.0, 9.0, 3.0]}))
    assert caplog.messages[:2] == ["joined 3 ratings of 3 users on 2 items", "new: 1 user and 1 item"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"u": ["ann", "bob"]},
            "ratings: the ids of users are text, such as 'ann', and those of the model are",
        ),
        ({"r": [1.0, math.nan]}, "ratings: row 2: the rating nan is not a finite number"),
        (
            {"u": [1, 1], "i": [100, 100]},
            "ratings: row 2: user 1 rated item 100 on row 1 already; keep one of",
        ),
        ({"u": None}, "ratings: no column 'u'; it has i, r, w; name it so, as in the data that the model"),
        ({name: [] for name in NEW}, "ratings: holds no ratings"),
    ],
)
def test_wrong_ratings_are_one_line(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    model = model_of(tmp_path, some_ratings(12, 15, 110, 0))
    table = {name: values for name, values in {**NEW, **change}.items() if values is not None}
    with pytest.raises(DataError) as error:
        model.update(pl.DataFrame(table))
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)
    assert "set data." not in str(error.value)


def test_too_few_ratings_without_a_regulariser_are_refused(tmp_path: Path) -> None:
    model = model_of(tmp_path, some_ratings(12, 15, 110, 0), train={"lambda_": 0.0})
    with pytest.raises(
        CofiError, match="the least squares of 2 users with new ratings have no unique solution"
    ):
        model.update(pl.DataFrame({"u": [70, 71], "i": [100, 102], "r": [1.0, 2.0]}))


def test_other_ratings_than_the_models_are_refused(tmp_path: Path) -> None:
    model = model_of(tmp_path, some_ratings(12, 15, 110, 0))
    updated = model.update(pl.DataFrame(NEW))
    with pytest.raises(DataError, match="rated holds other ratings than this model was trained with"):
        model.update(pl.DataFrame(NEW), updated.rated())
    with pytest.raises(DataError, match="rated is of type str; give what"):
        model.update(pl.DataFrame(NEW), "run")  # type: ignore[arg-type]
