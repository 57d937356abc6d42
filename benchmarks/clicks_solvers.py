"""What benchmarks.clicks compares: popularity, EASE, implicit's and cmfrec's ALS, and ours.

A solver draws the settings of a trial, learns from a split, and gives a score to every pair of user and item.
Ours and implicit's ALS are judged after each sweep, cmfrec's, which can't be watched, after a number of
sweeps that is drawn too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.clicks_data import Split
from cofi_dist.config import Config
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.run.log import NullLog
from cofi_dist.training.build import build_trainer
from cofi_dist.training.problem import load_problem
from cofi_dist.training.state import State

Scores = NDArray[np.floating]
SWEEPS = 15  # at most; what is best is chosen on validation parts
FACTORS = (64, 128, 256)


@dataclass(frozen=True)
class Solver:
    """A way to make lists.

    Attributes:
        draw: settings of a trial; None if there is nothing to choose.
        curve: NDCG@10 by number of sweeps.
        scores: of every user and item, after so many sweeps.
    """

    label: str
    draw: Callable[[np.random.Generator], dict[str, Any]] | None
    curve: Callable[[Split, dict[str, Any]], dict[int, float]]
    scores: Callable[[Split, dict[str, Any], int], Scores]


def watched(
    label: str,
    draw: Callable[[np.random.Generator], dict[str, Any]],
    learn: Callable[[Split, dict[str, Any], int, Callable[[int, Callable[[], Scores]], None]], None],
) -> Solver:
    """Of a solver that calls back after each sweep, with its number and a function that gives the scores."""

    def curve(split: Split, settings: dict[str, Any]) -> dict[int, float]:
        found: dict[int, float] = {}

        def judge(sweep: int, scores: Callable[[], Scores]) -> None:
            found[sweep] = float(split.ndcg(scores()).mean())

        learn(split, settings, SWEEPS, judge)
        return found

    def scores(split: Split, settings: dict[str, Any], sweeps: int) -> Scores:
        last: list[Scores] = []

        def keep(sweep: int, scores: Callable[[], Scores]) -> None:
            if sweep == sweeps:
                last.append(scores())

        learn(split, settings, sweeps, keep)
        return last[0]

    return Solver(label, draw, curve, scores)


def unwatched(
    label: str,
    draw: Callable[[np.random.Generator], dict[str, Any]] | None,
    learn: Callable[[Split, dict[str, Any]], Scores],
) -> Solver:
    """Of a solver that gives its scores at the end; its sweeps, if it has some, are a setting."""

    def curve(split: Split, settings: dict[str, Any]) -> dict[int, float]:
        return {0: float(split.ndcg(learn(split, settings)).mean())}

    return Solver(label, draw, curve, lambda split, settings, _: learn(split, settings))


def popularity(split: Split, settings: dict[str, Any]) -> Scores:
    """The same list for everybody."""
    return np.tile(np.asarray(split.matrix.sum(axis=0)), (split.shape[0], 1))


def ease(split: Split, settings: dict[str, Any]) -> Scores:
    """Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data".

    With P = (Y^T Y + lambda)^-1, the weights are B = I - P / diag(P), in which column i is divided by P_ii.
    By Woodbury's identity, P needs only a matrix of users x users.
    """
    Y, lambda_ = split.matrix.toarray().astype(np.float64), settings["lambda"]
    gram = Y @ Y.T
    solved = np.linalg.solve(gram + lambda_ * np.eye(len(Y)), Y)
    diagonal = (1 - (Y * solved).sum(axis=0)) / lambda_
    return np.asarray(Y - (Y - gram @ solved) / lambda_ / diagonal)


def draw_ease(rng: np.random.Generator) -> dict[str, Any]:
    """Lambda."""
    return {"lambda": _between(rng, 20, 2000)}


def draw_peer(rng: np.random.Generator) -> dict[str, Any]:
    """What implicit and cmfrec share."""
    return {
        "factors": int(rng.choice(FACTORS)),
        "lambda": _between(rng, 5, 50),
        "alpha": _between(rng, 1, 10),
    }


def draw_cmfrec(rng: np.random.Generator) -> dict[str, Any]:
    """With the number of sweeps, which it can't tell the best of."""
    return draw_peer(rng) | {"sweeps": int(rng.choice([5, 10, 15]))}


def draw_ours(rng: np.random.Generator) -> dict[str, Any]:
    """Lambda is drawn as what it weighs a typical row with, which is what matters, whatever the power."""
    return {
        "factors": int(rng.choice(FACTORS)),
        "unknown_weight": _between(rng, 0.1, 1),
        "typical lambda": _between(rng, 3, 15),
        "lambda_power": float(rng.choice([0.0, 0.25, 0.5, 0.75, 1.0])),
    }


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from where equal factors are equally likely; three digits."""
    return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.3g}")


def implicit_als(
    split: Split, settings: dict[str, Any], sweeps: int, judge: Callable[[int, Callable[[], Scores]], None]
) -> None:
    """Hu, Koren and Volinsky's cost: a known pair has the weight alpha, an unknown one 1."""
    from implicit.als import AlternatingLeastSquares

    threads = torch.get_num_threads()
    model = AlternatingLeastSquares(
        factors=settings["factors"],
        regularization=settings["lambda"],
        alpha=settings["alpha"],
        iterations=sweeps,
        num_threads=threads,
        random_state=1,
    )

    def after(iteration: int, *_: object) -> None:
        judge(iteration + 1, lambda: np.asarray(model.user_factors @ model.item_factors.T))

    model.fit(split.matrix, show_progress=False, callback=after)


def cmfrec_als(split: Split, settings: dict[str, Any]) -> Scores:
    """The same cost: a known pair has the weight 1 + alpha."""
    from cmfrec import CMF_implicit

    model = CMF_implicit(
        k=settings["factors"],
        lambda_=settings["lambda"],
        alpha=settings["alpha"],
        niter=settings["sweeps"],
        nthreads=torch.get_num_threads(),
        precompute_for_predictions=False,
    ).fit(split.matrix.tocoo())
    return np.asarray(model.A_ @ model.B_.T)


class Judged:
    """Has our factors judged after each sweep."""

    def __init__(
        self, split: Split, ids: tuple[Any, Any], judge: Callable[[int, Callable[[], Scores]], None]
    ) -> None:
        users, items = (map_.raw.to_numpy() for map_ in ids)
        self._rows = np.ix_(
            np.searchsorted(split.events.users, users), np.searchsorted(split.events.items, items)
        )
        self._split, self._judge = split, judge

    def after_step(self, state: State) -> None:
        """Judge."""
        self._judge(state.epoch, lambda: self._scores(state))

    def _scores(self, state: State) -> Scores:
        factors, scores = state.factors, np.full(self._split.shape, -np.inf)
        of_known = factors.W @ factors.X.T + (0 if factors.c is None else factors.c)
        scores[self._rows] = of_known.numpy()
        return scores

    def finish(self, state: State) -> None:
        """Nothing is left to do."""


def ours(
    split: Split, settings: dict[str, Any], sweeps: int, judge: Callable[[int, Callable[[], Scores]], None]
) -> None:
    """The trainer itself, on what it prepares of the split's file."""
    train: dict[str, Any] = {
        "optimizer": "als",
        "epochs": sweeps,
        "alpha": 0.0,
        "unknown_weight": settings["unknown_weight"],
        "lambda_power": settings["lambda_power"],
        "lambda_": lambda_of(split, settings),
    }
    data = {"ratings": str(split.file), "feedback": "implicit"}
    config = Config.model_validate(
        {
            "data": data,
            "model": {"num_features": settings["factors"]},
            "train": train,
            "run_dir": "none",
            "device": "cpu",
        }
    )
    store, comm = split.file.with_suffix(""), SoloComm()
    if not store.exists():
        with prepare_source(config.data, store) as prepared:
            prepared.keep(store)
    problem, shard = load_problem(config, store, torch.device("cpu"), comm)
    build_trainer(problem, shard, comm).run(NullLog(), Judged(split, StoredRatings(store).ids, judge))


def lambda_of(split: Split, settings: dict[str, Any]) -> float:
    """`train.lambda_` that weighs a row of the average counts with the typical lambda."""
    (num_users, num_items), known, a0 = split.shape, split.matrix.nnz, settings["unknown_weight"]
    typical = np.sqrt((known / num_users + a0 * num_items) * (known / num_items + a0 * num_users))
    return float(f"{settings['typical lambda'] / typical ** settings['lambda_power']:.4g}")


SOLVERS = {
    "ours": watched("**cofi_dist, ALS**", draw_ours, ours),
    "popularity": unwatched("popularity", None, popularity),
    "ease": unwatched("EASE", draw_ease, ease),
    "implicit": watched("implicit, ALS", draw_peer, implicit_als),
    "cmfrec": unwatched("cmfrec, CMF_implicit", draw_cmfrec, cmfrec_als),
}
