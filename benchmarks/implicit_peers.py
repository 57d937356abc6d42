"""The solvers that benchmarks.implicit compares, each a function of the same events.

    python -m benchmarks.implicit_peers NAME SETTINGS.json RESULT.json     # what benchmarks.implicit starts

One that can be watched is judged after its sweeps, with its clock stopped. cmfrec's ALS can't, and is run
anew with so many sweeps for each point. A line through the times of these calls then gives its set-up.
Without points, two sweeps are run, and only the peak of the memory is of interest.
"""

import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

import cofi_dist
from benchmarks.implicit_cost import Events, cost, user_gradient
from benchmarks.rank import peak
from cofi_dist.config import Config
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.kernels.cpu import schedule
from cofi_dist.run.log import NullLog
from cofi_dist.training.build import build_trainer
from cofi_dist.training.problem import Problem, load_problem
from cofi_dist.training.state import State

CPU = torch.device("cpu")
CHECK_SWEEPS = 2
SAME = 1e-5  # relative difference of J between solvers, for the same factors


@dataclass(frozen=True)
class Settings:
    """What all solvers are given; `points` are the sweeps after which one is judged."""

    users: int
    items: int
    events: int
    features: int
    threads: int
    alpha: float
    lambda_: float
    lr: float
    seed: int
    points: list[int]

    @property
    def sweeps(self) -> int:
        """As many as the last point needs; two without points."""
        return max(self.points, default=2)


def config_of(s: Settings, train: dict[str, Any]) -> Config:
    """The config of a run of ours."""
    shape = {"num_users": s.users, "num_items": s.items, "num_ratings": s.events}
    shared = {"epochs": s.sweeps, "alpha": s.alpha, "lambda_": s.lambda_, "log_every": 10**9}
    given = {
        "seed": s.seed,
        "data": {"synthetic": shape, "feedback": "implicit"},
        "model": {"num_features": s.features},
        "train": shared | train,
        "run_dir": "none",
        "device": "cpu",
    }
    return Config.model_validate(given)


def load(s: Settings, train: dict[str, Any]) -> tuple[Problem, UserShard]:
    """Make the events up."""
    return load_problem(config_of(s, train), Path("none"), CPU, SoloComm())


def events_of(shard: UserShard) -> Events:
    """For the cost that all are judged by."""
    indptr = np.searchsorted(shard.ratings.user, np.arange(len(shard.users) + 1))
    weight = np.broadcast_to(shard.known_weights(np.float64), len(shard.ratings))
    return Events(indptr, shard.ratings.item, np.ascontiguousarray(weight), shard.num_items)


class Clock:
    """Collects the points of a solver, judged while its clock stands still, and its peak of memory."""

    def __init__(self, s: Settings, shard: UserShard) -> None:
        self.points: list[dict[str, float]] = []
        self._settings, self._events = s, events_of(shard) if s.points else None
        self.paused = 0.0
        with suppress(OSError):  # else what was held at most before hides what is held now
            Path("/proc/self/clear_refs").write_text("5")
        self._before = peak()

    def judge(self, sweeps: int, seconds: float, W: NDArray[np.floating], X: NDArray[np.floating]) -> None:
        """Compute J, if this is one of the points."""
        if self._events is not None and sweeps in self._settings.points:
            begun = time.perf_counter()
            J = cost(self._events, W, X, self._settings.lambda_)
            self.points.append({"sweeps": sweeps, "seconds": seconds, "J": J})
            self.paused += time.perf_counter() - begun

    def result(self, name: str, set_up: float) -> dict[str, Any]:
        """All that is known of the solver."""
        memory = peak() - self._before
        return {"version": name, "set_up": set_up, "points": self.points, "memory": memory}


class Watch:
    """Judges our factors after a step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def after_step(self, state: State) -> None:
        """Judge."""
        factors = state.factors
        seconds = state.seconds - self._clock.paused
        self._clock.judge(state.epoch, seconds, factors.W.numpy(), factors.X.numpy())

    def finish(self, state: State) -> None:
        """Nothing is left to do."""


def ours(s: Settings, train: dict[str, Any]) -> dict[str, Any]:
    """The trainer itself; its loops are loaded or compiled on a small problem before."""
    if s.users > 50:
        for tile in (schedule.TILE_RATINGS, 100):  # items in one tile and in several
            with mock.patch.object(schedule, "TILE_RATINGS", tile):
                ours(replace(s, users=50, items=40, events=500, points=[1]), train)
    problem, shard = load(s, train)
    clock = Clock(s, shard)
    begun = time.perf_counter()
    trainer = build_trainer(problem, shard, SoloComm())
    set_up = time.perf_counter() - begun
    trainer.run(NullLog(), Watch(clock))
    return clock.result(cofi_dist.__version__, set_up)


def als(s: Settings) -> dict[str, Any]:
    """Three steps of conjugate gradients."""
    return ours(s, {"optimizer": "als"})


def exact(s: Settings) -> dict[str, Any]:
    """Rows solved by Cholesky."""
    return ours(s, {"optimizer": "als", "solver": "exact"})


def adam(s: Settings) -> dict[str, Any]:
    """A sweep is an epoch."""
    return ours(s, {"lr": s.lr})


def confidences(shard: UserShard) -> Any:
    """The weights of the events, which is what implicit takes."""
    import scipy.sparse

    events = events_of(shard)
    shape = len(shard.users), shard.num_items
    return scipy.sparse.csr_matrix((events.weight.astype(np.float32), events.item, events.indptr), shape)


def implicit(s: Settings) -> dict[str, Any]:
    """Three steps of conjugate gradients, too."""
    from implicit.als import AlternatingLeastSquares

    _, shard = load(s, {})
    given = {"factors": s.features, "regularization": s.lambda_, "alpha": 1.0, "random_state": s.seed}
    AlternatingLeastSquares(**given, iterations=1).fit(confidences(shard)[:100], show_progress=False)
    clock = Clock(s, shard)
    begun = time.perf_counter()
    matrix = confidences(shard)
    model = AlternatingLeastSquares(**given, iterations=s.sweeps, num_threads=s.threads)
    seconds = 0.0

    def after(iteration: int, took: float, _: object) -> None:
        nonlocal seconds
        seconds += took
        clock.judge(iteration + 1, seconds, model.user_factors, model.item_factors)

    model.fit(matrix, show_progress=False, callback=after)
    set_up = time.perf_counter() - begun - seconds - clock.paused
    return clock.result(version("implicit"), set_up)


def cmfrec_fit(s: Settings, shard: UserShard, sweeps: int, *, cg: bool) -> tuple[float, Any]:
    """Seconds of a call, and the model."""
    import scipy.sparse
    from cmfrec import CMF_implicit

    ratings = shard.ratings
    strengths = ratings.value.astype(np.float32)
    shape = len(shard.users), shard.num_items
    matrix = scipy.sparse.coo_matrix((strengths, (ratings.user, ratings.item)), shape=shape)
    model = CMF_implicit(
        k=s.features,
        lambda_=s.lambda_,
        alpha=s.alpha,
        niter=sweeps,
        use_cg=cg,
        precompute_for_predictions=False,
        random_state=s.seed,
        nthreads=s.threads,
    )
    begun = time.perf_counter()
    model.fit(matrix)
    return time.perf_counter() - begun, model


def cmfrec(s: Settings) -> dict[str, Any]:
    """Three steps of conjugate gradients, too."""
    _, shard = load(s, {})
    clock = Clock(s, shard)
    found = [(sweeps, *cmfrec_fit(s, shard, sweeps, cg=True)) for sweeps in s.points or [s.sweeps]]
    sweep, set_up = 0.0, 0.0
    if len(found) > 1:
        sweep, set_up = np.polyfit([n for n, _, _ in found], [took for _, took, _ in found], 1)
    for sweeps, _, model in found:
        clock.judge(sweeps, sweeps * float(sweep), model.A_, model.B_)
    return clock.result(version("cmfrec"), float(set_up))


class FirstCost(NullLog):
    """Keeps the cost before the first step of a run of ours."""

    cost = float("nan")

    def on_start(self, cost: float, epoch: int) -> None:
        self.cost = cost


def cost_by_ours(s: Settings, W: NDArray[np.float64], X: NDArray[np.float64]) -> float:
    """J as a run of ours prints it, if it begins with these factors."""
    problem, shard = load(s, {"epochs": 1, "dtype": "float64"})
    trainer, log = build_trainer(problem, shard, SoloComm()), FirstCost()
    for ours, theirs in ((trainer.state.factors.W, W), (trainer.state.factors.X, X)):
        ours.copy_(torch.from_numpy(theirs))
    trainer.run(log)
    return log.cost


def check(s: Settings) -> dict[str, Any]:
    """That all have the same J for the same factors."""
    from implicit.als import AlternatingLeastSquares
    from implicit.cpu import _als

    _, shard = load(s, {})
    events, matrix = events_of(shard), confidences(shard)
    given = {"factors": s.features, "regularization": s.lambda_, "alpha": 1.0, "random_state": s.seed}
    model = AlternatingLeastSquares(**given, iterations=CHECK_SWEEPS)
    model.fit(matrix, show_progress=False)
    W, X = (factors.astype(np.float64) for factors in (model.user_factors, model.item_factors))
    J = cost(events, W, X, s.lambda_)
    loss = _als.calculate_loss(matrix, W, X, s.lambda_, num_threads=s.threads)
    theirs, ours = loss * events.weight_of_all / 2, cost_by_ours(s, W, X)
    _, model = cmfrec_fit(s, shard, 1, cg=False)
    least = cost(events, model.A_, model.B_, s.lambda_)
    gradient = user_gradient(events, model.A_, model.B_, s.lambda_)
    excess = float((gradient**2).sum()) / (2 * s.lambda_ * least)
    if max(abs(theirs / J - 1), abs(ours / J - 1), excess) > SAME:
        raise SystemExit(f"not the same J: {theirs:.9g}, {ours:.9g} and {J:.9g}, and {excess:.1e} of excess")
    text = (
        f"J of implicit's factors: {J:.9g}; by its own loss {theirs:.9g}, off by {theirs / J - 1:.1e};"
        f" by ours {ours:.9g}, off by {ours / J - 1:.1e}\n"
        f"J of cmfrec's factors, by Cholesky: {least:.9g}, at most {excess:.1e} of it above the least J for"
        " its items"
    )
    return {"text": text}


SOLVERS = {"als": als, "exact": exact, "adam": adam, "implicit": implicit, "cmfrec": cmfrec}


def main() -> None:
    """One solver, in this process."""
    name, given, result = sys.argv[1:]
    settings = Settings(**json.loads(Path(given).read_text()))
    torch.set_num_threads(settings.threads)
    found = check(settings) if name == "check" else SOLVERS[name](settings)
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
