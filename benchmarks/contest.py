"""What the solvers of benchmarks.large work on, how they are judged, and what is known of each after.

A solver that can be watched is stopped at each of the points, its clock with it, and judged. One that
can't is run anew with so many sweeps for each point, after one that warms up; a line through the times
of these calls then gives the seconds of a sweep, and what a call takes beside (its set-up).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

import numpy as np
import torch

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import build_rating_matrix, half_squared_error
from cofi_dist.data.item_means import ItemSums, item_offsets, item_sums, mean_centred
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.factors import Factors
from cofi_dist.kernels.rating_matrix import RatingMatrix
from cofi_dist.kernels.torch_ops.primitives import pair_dot
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.training.draw import draw_factors
from cofi_dist.training.state import State

CPU = torch.device("cpu")
TEST_PART = 0.1


@dataclass(frozen=True)
class Settings:
    """What all solvers are given; `points` are the sweeps after which one is judged."""

    users: int
    items: int
    ratings: int
    features: int
    threads: int
    lambda_: float
    lr: float
    seed: int
    spark_memory: str
    points: list[int]


@dataclass(frozen=True)
class Point:
    """After so many sweeps; J where the objective is ours."""

    sweeps: int
    seconds: float
    rmse: float
    J: float | None


@dataclass(frozen=True)
class Result:
    """What one solver did; seconds are the solver's own, `set_up` apart."""

    version: str
    set_up: float
    sweep: float
    best_rmse: float
    points: list[Point]


class Problem:
    """Made-up ratings, nine tenths to learn from, less their item's mean, and a tenth to be judged by."""

    def __init__(self, settings: Settings) -> None:
        s = self.settings = settings
        source = SyntheticRatings(s.users, s.items, s.ratings, s.seed)
        everyone = UserRange(0, s.users)
        whole = source.load(everyone)
        is_test = np.random.default_rng(s.seed).random(len(whole)) < TEST_PART
        known, self.test = (
            Ratings(whole.user[rows], whole.item[rows], whole.value[rows]) for rows in (~is_test, is_test)
        )
        self.sums: ItemSums = item_sums(known, s.items, SoloComm())
        self.means = item_offsets(self.sums, "item_mean", None)
        self.shard = UserShard.single_block(everyone, s.items, mean_centred(known, self.means))
        self.scale, self.best_rmse = source.scale, source.best_rmse()

    def start(self) -> Factors:
        """The start that a run of ours has."""
        s, users = self.settings, self.shard.users
        given = {"seed": s.seed, "users": users, "device": CPU, "dtype": torch.float32}
        return draw_factors(s.items, s.users, s.features, **given)  # type: ignore[arg-type]

    def zeros(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """X, W and b, all zeros."""
        s = self.settings
        return torch.zeros(s.items, s.features), torch.zeros(s.users, s.features), torch.zeros(1, s.users)

    def rmse(self, factors: Factors) -> float:
        """On the test part, predictions clipped to the scale."""
        user, item = (torch.from_numpy(rows) for rows in (self.test.user, self.test.item))
        dots = pair_dot(factors.X, factors.W, item, user) + factors.b[0, user]
        predicted = np.clip(dots.numpy() + self.means[self.test.item], *self.scale)
        return float(np.sqrt(np.mean((predicted - self.test.value) ** 2)))

    @cached_property
    def _exact(self) -> RatingMatrix:
        return build_rating_matrix(self.shard, CPU, torch.float64)

    def cost(self, factors: Factors) -> float:
        """J, in float64."""
        wide = Factors(*(factor.double() for factor in (factors.X, factors.W, factors.b)))
        regulariser, norm = Regulariser(self.settings.lambda_), self._exact.sums
        penalty = regulariser.value(
            regulariser.user_squares(wide, norm), regulariser.item_squares(wide, norm)
        )
        return float(half_squared_error(self._exact, wide) + penalty)

    def anew(self, solve: Callable[[int], tuple[float, Factors]], name: str, *, is_ours: bool) -> Result:
        """A solver that can't be watched: `solve` gives the seconds of a call, and what came of it."""
        solve(1)
        points, seconds = self.settings.points, []
        found: list[tuple[float, float | None]] = []
        for sweeps in points:
            took, factors = solve(sweeps)
            seconds.append(took)
            found.append((self.rmse(factors), self.cost(factors) if is_ours else None))
        sweep, set_up = np.polyfit(points, seconds, 1) if len(points) > 1 else (seconds[0] / points[0], 0.0)
        judged = [Point(n, n * float(sweep), *each) for n, each in zip(points, found, strict=True)]
        return Result(version(name), float(set_up), float(sweep), self.best_rmse, judged)


class Watch:
    """Judges the factors between two steps, and takes the time that this needs off the clock."""

    def __init__(self, problem: Problem) -> None:
        self._problem, self._paused = problem, 0.0
        self.points: list[Point] = []

    def after_step(self, state: State) -> None:
        """Judge, where this is one of the points."""
        if state.epoch in self._problem.settings.points:
            start, factors = time.perf_counter(), state.factors
            judged = self._problem.rmse(factors), self._problem.cost(factors)
            self.points.append(Point(state.epoch, state.seconds - self._paused, *judged))
            self._paused += time.perf_counter() - start

    def finish(self, state: State) -> None:
        """Nothing is left to do."""
