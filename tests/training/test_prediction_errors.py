"""Errors of the factors are those of the formula, over the ratings of all ranks."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.data.ratings import Ratings
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.factors import Factors
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.testing import run_ranks
from cofi_dist.training import prediction_errors as module
from cofi_dist.training.prediction_errors import PredictionErrors
from tests.support.problems import random_factors, random_ratings, shard_of, slice_factors

CPU = torch.device("cpu")
MEANS = np.linspace(2.0, 4.0, 9)


def errors_reference(factors: Factors, ratings: Ratings, scale: tuple[float, float]) -> dict[str, float]:
    """Rating by rating; `MEANS` were taken off the items."""
    squares, absolutes = [], []
    for j, i, y in zip(ratings.user.tolist(), ratings.item.tolist(), ratings.value.tolist(), strict=True):
        c = 0.0 if factors.c is None else float(factors.c[0, i])
        predicted = float(factors.W[j].double() @ factors.X[i].double() + factors.b[0, j]) + c + MEANS[i]
        err = min(max(predicted, scale[0]), scale[1]) - y
        squares.append(err * err)
        absolutes.append(abs(err))
    return {"rmse": math.sqrt(sum(squares) / len(squares)), "mae": sum(absolutes) / len(absolutes)}


@given(st.data())
def test_any_problem_matches_the_formula(data: st.DataObject) -> None:
    num_users, num_items = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 9))
    ratings = random_ratings(num_users, num_items, data.draw(st.integers(1, num_users * num_items)))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    factors = random_factors(num_items, num_users, 3, dtype, item_bias=data.draw(st.booleans()))
    scale = data.draw(st.sampled_from([(0.5, 5.0), (-math.inf, math.inf), (1.0, 1.0)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", data.draw(st.sampled_from([1, 3, 1000])))
        got = PredictionErrors(ratings, MEANS, scale, CPU).measure(factors, SoloComm())
    want = errors_reference(factors, ratings, scale)
    rel = 1e-12 if dtype == torch.float64 else 1e-5
    assert got == pytest.approx(want, rel=rel)


def _errors(comm: Comm, cuts: list[int]) -> dict[str, float]:
    users = UserRange(cuts[comm.rank], cuts[comm.rank + 1])
    mine = shard_of(random_ratings(6, 9, 31), users, 9).ratings
    factors = slice_factors(random_factors(9, 6, 3, item_bias=True), users)
    return PredictionErrors(mine, MEANS, (0.5, 5.0), CPU).measure(factors, comm)


@pytest.mark.parametrize("cuts", [[0, 6], [0, 1, 6], [0, 5, 5, 6]], ids=["one", "uneven", "empty rank"])
def test_every_rank_gets_the_errors_of_all_ranks_ratings(cuts: list[int], tmp_path: Path) -> None:
    want = errors_reference(random_factors(9, 6, 3, item_bias=True), random_ratings(6, 9, 31), (0.5, 5.0))
    told = run_ranks(len(cuts) - 1, _errors, cuts, tmp=tmp_path)
    assert all(each == told[0] for each in told)
    assert told[0] == pytest.approx(want, rel=1e-12)
