"""New users, then new items, are where J is lowest given the rows that are known."""

from pathlib import Path

import numpy as np
import pytest

from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.model import Model
from cofi_dist.testing import run_ranks
from tests.support.warm_starts import CONFIG, EVENTS, Started, bits_of, model_of, started

USERS, ITEMS = list(range(10, 75)), list(range(3, 36))  # 10 of 60 users and 7 of 40 items are new


def _rows_reference(found: Started, fixed: np.ndarray, side: str, row: int, weight: float) -> np.ndarray:
    """The minimiser of J over one row's features and bias, in float64.

    Args:
        found: the run.
        fixed: rows of the other side that count, NaN where they don't: features, then the bias.
        side: of the row, "users" or "items".
        row: its number.
        weight: lambda n^p.
    """
    config, ratings = found.problem.config, found.shard.ratings
    R, Y = (np.zeros((found.problem.source.num_users, found.problem.source.num_items)) for _ in range(2))
    R[ratings.user, ratings.item] = found.shard.known_weights(np.float64)
    Y[ratings.user, ratings.item] = found.shard.targets(np.float64)
    c, y = (R[row], Y[row]) if side == "users" else (R[:, row], Y[:, row])
    counts = ~np.isnan(fixed[:, 0])
    F, z, c, y = fixed[counts, :-1], fixed[counts, -1], c[counts], y[counts]
    c = np.where(c > 0, c, config.train.unknown_weight)
    has_bias = config.model.user_bias if side == "users" else config.model.item_bias
    extended = np.hstack([F, np.full((len(F), 1), float(has_bias))])
    ridge = np.full(extended.shape[1], weight)
    ridge[-1] = config.train.lambda_b if has_bias else 1.0
    A = extended.T @ (c[:, None] * extended) + np.diag(ridge)
    return np.linalg.solve(A, extended.T @ (c * (y - z)))


@pytest.mark.parametrize("optimizer", ["adam", "als"])
@pytest.mark.parametrize(
    ("config", "given"),
    [(CONFIG, []), (CONFIG, ["model.item_bias=false"]), (EVENTS, []), (EVENTS, ["model.user_bias=true"])],
    ids=["explicit", "no item bias", "implicit", "implicit with user bias"],
)
def test_new_rows_minimise_the_cost(config: str, given: list[str], optimizer: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(config)
    feedback = ["data.feedback=implicit"] if config == EVENTS else []
    model = model_of(tmp_path, USERS, ITEMS, *feedback, item_bias="model.item_bias=false" not in given)
    found = started(SoloComm(), tmp_path / "run.yaml", [f"train.optimizer={optimizer}", *given], model)
    problem, train = found.problem, found.problem.config.train
    got = bits_of(found.factors)
    c = got.get("c", np.zeros(40))
    items, users = np.column_stack([got["X"], c]), np.column_stack([got["W"], got["b"]])
    known_items = items.copy()
    known_items[[i for i in range(40) if i not in ITEMS]] = np.nan
    a0 = train.unknown_weight
    for j in range(10):
        weight = train.lambda_ * (problem.user_counts[j] + a0 * 40) ** train.lambda_power
        want = _rows_reference(found, known_items, "users", j, weight)
        np.testing.assert_allclose(users[j], want, rtol=1e-9, atol=1e-11)
    for i in set(range(40)) - set(ITEMS):
        weight = train.lambda_ * (problem.item_sums.count[i] + a0 * 60) ** train.lambda_power
        want = _rows_reference(found, users, "items", i, weight)
        np.testing.assert_allclose(items[i], want, rtol=1e-9, atol=1e-11)


VARIANTS = [
    (CONFIG, ["train.dtype=float32"]),
    (EVENTS, ["train.dtype=float32", "train.optimizer=als"]),
]


def _started_on(comm: Comm, tmp: Path, models: list[Model]) -> list[tuple[dict[str, np.ndarray], list[str]]]:
    starts = []
    for number, ((_, given), model) in enumerate(zip(VARIANTS, models, strict=True)):
        overrides = [*given, "train.reduction=invariant"]
        found = started(comm, tmp / f"{number}.yaml", overrides, model)
        starts.append((bits_of(found.factors), found.notes))
    return starts


def test_any_number_of_ranks_starts_with_the_same_bits(tmp_path: Path) -> None:
    for number, (config, _) in enumerate(VARIANTS):
        (tmp_path / f"{number}.yaml").write_text(config)
    kinds = [["data.feedback=implicit"] if config == EVENTS else [] for config, _ in VARIANTS]
    models = [model_of(tmp_path, USERS, ITEMS, *kind) for kind in kinds]
    alone = _started_on(SoloComm(), tmp_path, models)
    for ranks in (2, 3):
        on_ranks = run_ranks(ranks, _started_on, tmp_path, models, tmp=tmp_path)
        for number, (want, notes) in enumerate(alone):
            parts = [rank[number][0] for rank in on_ranks]
            for name in ("X", "c"):
                assert all((part[name] == want[name]).all() for part in parts), (ranks, number, name)
            for name in ("W", "b"):
                together = np.concatenate([part[name] for part in parts])
                assert (together == want[name]).all(), (ranks, number, name)
            assert all(rank[number][1] == notes for rank in on_ranks), "all ranks count alike"


def test_a_row_without_usable_ratings_keeps_its_random_start(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    # user 3 has rated only item 9, which is new, and item 9 is rated by nobody else
    file.write_text("userId,movieId,rating\n1,7,4\n1,8,2\n2,7,3\n3,9,5\n")
    (tmp_path / "run.yaml").write_text(
        f"data: {{ratings: {file}, centre: none}}\nmodel: {{num_features: 4}}\ntrain: {{dtype: float64}}\n"
    )
    model = model_of(tmp_path, [1, 5], [7, 8], item_bias=False)
    found = started(SoloComm(), tmp_path / "run.yaml", [], model)
    drawn, got = bits_of(found.drawn), bits_of(found.factors)
    assert (got["W"][2] == drawn["W"][2]).all()
    assert (got["W"][1] != drawn["W"][1]).all()
    assert (got["X"][2] != drawn["X"][2]).all(), "solved for from a user who starts at random"
    assert (got["X"][2] != 0).any(), "rows of zeros would never move"
    assert found.notes == [
        "started from the given model: users 1 found, 2 new, 1 gone; items 2 found, 1 new, 0 gone",
        "1 new user and 0 new items have no ratings to be solved for from, and start at random",
    ]


def test_rows_of_zeros_are_new(tmp_path: Path) -> None:
    """An update leaves them, if new users and items are linked to known ones by no rating."""
    file = tmp_path / "r.csv"
    file.write_text("userId,movieId,rating\n1,7,4\n1,8,2\n2,7,3\n3,9,5\n")
    (tmp_path / "run.yaml").write_text(
        f"data: {{ratings: {file}, centre: none}}\nmodel: {{num_features: 4}}\ntrain: {{dtype: float64}}\n"
    )
    model = model_of(tmp_path, [1, 2, 3], [7, 8, 9], item_bias=False)
    model.factors.W[2] = 0
    model.factors.X[2] = 0
    found = started(SoloComm(), tmp_path / "run.yaml", [], model)
    got = bits_of(found.factors)
    assert (got["W"][2] != 0).any()
    assert (got["X"][2] != 0).any()
    assert found.notes[0].endswith("users 2 found, 1 new, 0 gone; items 2 found, 1 new, 0 gone")
