"""A model brought up to date with 1 % new ratings: by an update, from a warm start, and by training again.

    python -m benchmarks.update [--ratings 10000000] [--users 69878] [--items 10677] [--features 64]
        [--kinds ratings,events] [--repeats 1] [--lambda 10]

Made-up ratings, of which 5 % are held out, and made-up events. ALS as `cofi_dist.fit` runs it by default,
from tables in memory, so every way but the update prepares all ratings anew. New are 1 % of what remains:
pairs at random, which touch most users and nearly all items; or those of few users: all ratings of 0.5 % of
the users, who are new, and half of those of another 1 %. Seconds are those of the whole call, the fastest of
--repeats. An update prepares the new ratings, joins them and solves; a training prepares, and takes epochs.
`save` is Model.save. The figures are on the held-out ratings of all users, and of those with new ratings:
RMSE, or for events NDCG@10 of about 5,000 users.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import polars as pl

import cofi_dist
from benchmarks.machine import machine
from cofi_dist.data.preparation.join import join_ratings
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.data.sources.synthetic_events import SyntheticEvents
from cofi_dist.model import Model
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.update.factors import update_factors

Kind = Literal["ratings", "events"]
JUDGED = 5_000  # users whose lists are judged


def made_up(kind: Kind, args: argparse.Namespace) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what is trained on, and what is held out."""
    source = (SyntheticRatings if kind == "ratings" else SyntheticEvents)(
        args.users, args.items, args.ratings, 0
    )
    loaded = source.load(UserRange(0, args.users))
    names = {"userId": loaded.user, "movieId": loaded.item, "rating": loaded.value.astype(np.float32)}
    table = pl.DataFrame(names)
    is_held_out = np.random.default_rng(1).random(len(table)) < 0.05
    return table.filter(~is_held_out), table.filter(is_held_out)


def new_ones(table: pl.DataFrame, which: str, num_users: int) -> pl.Series:
    """Tell which rows are new."""
    rng = np.random.default_rng(2)
    by_row, of_user = rng.random(len(table)), rng.random(num_users)[table["userId"].to_numpy()]
    if which == "at random":
        return pl.Series(by_row < 0.01)
    return pl.Series((of_user < 0.005) | ((of_user < 0.015) & (by_row < 0.5)))


@contextmanager
def parts_timed(seconds: dict[str, float]) -> Iterator[None]:
    """Add up the seconds that an update takes to prepare the new ratings, to join, and to solve."""

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            start = time.perf_counter()
            result = function(*given, **named)
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
            return result

        return call

    module = "cofi_dist.model.update"
    with (
        patch(f"{module}.join_ratings", timed("join", join_ratings)),
        patch(f"{module}.update_factors", timed("solve", update_factors)),
    ):
        yield


def figure(kind: Kind, model: Model, held_out: pl.DataFrame) -> float:
    """Return the RMSE, or NDCG@10 of a sample of users."""
    table = held_out.rename({"userId": "user", "movieId": "item", "rating": "value"})
    if kind == "ratings":
        predicted = model.predict(table["user"], table["item"])
        return float(np.sqrt(np.mean((predicted - table["value"].to_numpy()) ** 2)))
    judged = (
        table.filter(pl.col("user").is_in(table["user"].unique().sort().sample(JUDGED, seed=3).implode()))
        if (table["user"].n_unique() > JUDGED)
        else table
    )
    ranking = model.evaluate(judged, model.rated(), k=10).ranking
    assert ranking is not None
    assert ranking.ndcg is not None
    return ranking.ndcg


def compare(kind: Kind, which: str, args: argparse.Namespace) -> None:
    """Print a row for each way."""
    table, held_out = made_up(kind, args)
    is_new = new_ones(table, which, args.users)
    old, new = table.filter(~is_new), table.filter(is_new)
    settings: dict[str, Any] = {
        "model": {"num_features": args.features},
        "train": {"optimizer": "als", "lambda_": args.lambda_},
        "data": {"feedback": "explicit" if kind == "ratings" else "implicit"},
        "progress": False,
    }
    touched = held_out.filter(pl.col("userId").is_in(new["userId"].unique().implode()))
    print(f"{kind}, {len(new):,} new {which} of {len(table):,}:", end=" ")
    print(f"{new['userId'].n_unique():,} users, {new['movieId'].n_unique():,} items", flush=True)

    def show(name: str, model: Model, seconds: float, parts: str) -> None:
        figures = [figure(kind, model, each) for each in (held_out, touched)]
        print(f"| {name} | {seconds:.2f} | {parts} | {figures[0]:.4f} | {figures[1]:.4f} |", flush=True)

    def trained(ratings: pl.DataFrame, **more: Any) -> tuple[Model, float, str]:
        best: tuple[Model, float, str] | None = None
        for _ in range(args.repeats):
            start = time.perf_counter()
            model = cofi_dist.fit(ratings, **settings, **more)
            seconds = time.perf_counter() - start
            if best is None or seconds < best[1]:
                last = model.history.row(-1, named=True)
                best = model, seconds, f"{last['seconds']:.2f} s to epoch {last['epoch']}"
        assert best is not None
        return best

    title = "RMSE" if kind == "ratings" else "NDCG@10"
    print(f"| | seconds | of which | {title}, all | {title}, users with new ones |\n|---|---|---|---|---|")
    base = trained(old)
    show("yesterday's model", *base)
    updated, fastest = None, (np.inf, "")
    for _ in range(args.repeats):
        parts: dict[str, float] = {}
        start = time.perf_counter()
        with parts_timed(parts):
            updated = base[0].update(new)
        seconds = time.perf_counter() - start
        parts = {"prepare": seconds - sum(parts.values()), **parts}
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            updated.save(Path(folder) / "model")
            parts["save"] = time.perf_counter() - start
        text = ", ".join(f"{name} {each:.2f} s" for name, each in parts.items())
        fastest = min(fastest, (seconds, text))
    assert updated is not None
    show("update", updated, *fastest)
    show("train from yesterday's", *trained(table, start=base[0]))
    show("train again", *trained(table))
    print(flush=True)


def main() -> None:
    """Both kinds, and new ratings chosen in both ways."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("ratings", 10_000_000), ("users", 69_878), ("items", 10_677), ("features", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--lambda", dest="lambda_", type=float, default=10.0)
    parser.add_argument("--kinds", default="ratings,events")
    args = parser.parse_args()
    print(machine(), end="\n\n")
    for kind in args.kinds.split(","):
        for which in ("at random", "of few users"):
            compare(kind, which, args)


if __name__ == "__main__":
    main()
