"""Small models for the tests, trained or made up."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from cofi_dist.config import ColumnNames, Config, Feedback, load_config
from cofi_dist.data.ids import IdMap
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.splits import Part
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.factors import Factors
from cofi_dist.files.atomic import atomic_directory
from cofi_dist.model import Evaluation, Model, RunRatings, TrainingDataFacts
from cofi_dist.model.arrays import ModelArrays
from cofi_dist.model.parts import MATRIX, VECTORS, OwnRows, Side, write_manifest, write_parts
from cofi_dist.model.store import About, write_rest
from cofi_dist.run.train import train
from cofi_dist.sharding.ranges import UserRange
from tests.support.problems import random_factors, random_ratings


def a_config(tmp: Path, *overrides: str) -> Config:
    (tmp / "c.yaml").write_text("data: {ratings: r.csv}\n")
    return load_config(tmp / "c.yaml", overrides)


def made_up(
    tmp: Path,
    num_users: int = 12,
    num_items: int = 30,
    *overrides: str,
    dtype: torch.dtype = torch.float64,
    item_bias: bool = True,
    seed: int = 0,
) -> Model:
    """Normal factors of 4 features, item means about 3, raw ids u0, u1, ... and 100, 101, ...

    With `data.feedback=implicit` among the overrides, there are no means.
    """
    rng = np.random.default_rng(seed)
    drawn = random_factors(num_items, num_users, 4, dtype, seed)
    c = torch.from_numpy(rng.normal(size=(1, num_items))).to(dtype) if item_bias else None
    means = 3 + rng.normal(size=num_items) / 3
    config, facts = a_config(tmp, *overrides), TrainingDataFacts(3.25, 0.5, 5.0, "made up", ColumnNames())
    if config.data.feedback == "implicit":
        means[:] = 0
        facts = replace(facts, global_mean=0.0, lowest=-math.inf, highest=math.inf, feedback="implicit")
    if not config.model.user_bias:
        drawn.b.zero_()
    return Model(
        arrays=ModelArrays.of(
            Factors(drawn.X, drawn.W, drawn.b, c),
            item_means=means,
            item_counts=rng.integers(1, 50, num_items).astype(np.float64),
            user_counts=rng.integers(1, 50, num_users).astype(np.float64),
        ),
        facts=facts,
        users=IdMap(pl.Series("id", [f"u{j:04}" for j in range(num_users)])),
        items=IdMap(pl.Series("id", range(100, 100 + num_items))),
        config=config,
    )


def small(tmp: Path) -> Model:
    """3 users named ann, bob and zoe, 5 items, 2 features; a user and an item without training ratings."""
    return Model(
        arrays=ModelArrays.of(
            random_factors(5, 3, 2, torch.float32),
            item_means=np.arange(5.0),
            item_counts=np.array([2.0, 0.0, 1.0, 1.0, 3.0]),
            user_counts=np.array([4.0, 0.0, 3.0]),
        ),
        facts=TrainingDataFacts(3.5, 0.5, 5.0, "sha256:00", ColumnNames(user="who")),
        users=IdMap(pl.Series("id", ["ann", "bob", "zoe"])),
        items=IdMap.row_numbers(5),
        config=a_config(tmp),
    )


def in_parts(model: Model, directory: Path, *, users: Sequence[int] = (), items: Sequence[int] = ()) -> Model:
    """The same model, read from parts that end at these rows; items in turn belong to two files."""
    arrays, about = model.arrays.by_name, About(model.facts, model.users, model.items, model.config)
    users, items = [0, *users, len(model.users)], [0, *items, len(model.items)]
    own = [_own("users", [UserRange(*cut)], arrays) for cut in pairwise(users)]
    ranges = [UserRange(*cut) for cut in pairwise(items)]
    own += [_own("items", some, arrays) for some in (ranges[::2], ranges[1::2]) if some]
    with atomic_directory(directory, replace=True) as temporary:
        write_manifest(temporary, about.metadata, write_parts(temporary, own))
        write_rest(temporary, about)
    return Model.load(directory)


def _own(side: Side, ranges: list[UserRange], arrays: dict[str, np.ndarray]) -> OwnRows:
    rows = np.concatenate([np.arange(each.start, each.stop) for each in ranges])
    vectors = {name: arrays[name].reshape(-1)[rows] for name in VECTORS[side] if name in arrays}
    return OwnRows(side, ranges, {MATRIX[side]: arrays[MATRIX[side]][rows], **vectors})


def dense_scores(model: Model) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Every user's score of every item, (U, M), by the formula."""
    f = model.factors
    scores = f.W.double().numpy() @ f.X.double().numpy().T + f.b.double().numpy().T
    if f.c is not None:
        scores += f.c.double().numpy()
    scores += model.item_means.numpy()
    return np.asarray(scores)


class Halves:
    """A source whose ratings are train and test in turn; model rows."""

    parts: tuple[Part, ...] = ("train", "test")
    feedback: Feedback = "explicit"
    scale = (0.5, 5.0)
    notes: list[str] = []  # noqa: RUF012
    columns, item_sums, centre = ColumnNames(), None, ("none", None)

    def __init__(self, num_users: int, num_items: int, num_ratings: int, seed: int = 0) -> None:
        self.num_users, self.num_items = num_users, num_items
        drawn = random_ratings(num_users, num_items, num_ratings, seed)
        value = np.clip(np.round(2 * (3 + drawn.value)) / 2, 0.5, 5.0)
        self.all = Ratings(drawn.user, drawn.item, value)

    def ratings_per_user(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.bincount(self.all.user, minlength=self.num_users).astype(np.int64)

    @property
    def ids(self) -> tuple[IdMap, IdMap]:
        return IdMap.row_numbers(self.num_users), IdMap.row_numbers(self.num_items)

    def fingerprint(self) -> str:
        return "made up"

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        a = self.all
        mine = (a.user >= users.start) & (a.user < users.stop)
        mine &= (np.arange(len(a)) % 2 == 1) == (part == "test")
        return Ratings(a.user[mine] - np.int32(users.start), a.item[mine], a.value[mine])


def rated_halves(model: Model, num_ratings: int, seed: int = 0) -> RunRatings:
    source = Halves(len(model.users), len(model.items), num_ratings, seed)
    return RunRatings(source, (model.users, model.items))


def trained(tmp: Path, config: str, *overrides: str) -> Model:
    """The model of a run in tmp/run."""
    (tmp / "run.yaml").write_text(config)
    return Model.load(
        train(tmp / "run.yaml", [f"run_dir={tmp / 'run'}", *overrides], SoloComm(), replace=True)
    )


# A made-up model to be judged, by half of its users' ratings.
NUM_USERS, NUM_ITEMS = 40, 60
EVERYONE = UserRange(0, NUM_USERS)


def judged(tmp: Path) -> tuple[Model, RunRatings]:
    model = made_up(tmp, NUM_USERS, NUM_ITEMS)
    return model, rated_halves(model, 900)


def as_table(model: Model, user: np.ndarray, item: np.ndarray, value: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"user": model.users.raw[user], "item": model.items.raw[item], "value": value})


def figures(found: Evaluation) -> dict[str, float]:
    """Return all that was measured by name, the ranking among it."""
    flat: dict[str, Any] = asdict(found)
    ranking = flat.pop("ranking") or {"intervals": {}}
    intervals = {**flat.pop("intervals"), **ranking.pop("intervals")}
    limits = {f"{name} {end}": limit for name, ends in intervals.items() for end, limit in enumerate(ends)}
    return {name: value for name, value in {**flat, **ranking, **limits}.items() if value is not None}
