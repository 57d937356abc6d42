"""Models to start from, and the factors that a run starts with, for the tests."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch

from cofi_dist.config import load_config
from cofi_dist.data.ids import IdMap
from cofi_dist.data.shard import UserShard
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.distributed.comm import Comm
from cofi_dist.factors import Factors
from cofi_dist.model import Model
from cofi_dist.run.start_model import StartModel
from cofi_dist.training.build import initial_factors
from cofi_dist.training.problem import Problem, load_problem
from tests.support.models import made_up

# 60 users and 40 items, whose ids are their row numbers.
CONFIG = """
data: {synthetic: {num_users: 60, num_items: 40, num_ratings: 900}}
model: {num_features: 4, item_bias: true}
train: {dtype: float64, lambda_: 0.7, lambda_power: 0.3, lambda_b: 0.2}
"""
EVENTS = """
data: {synthetic: {num_users: 60, num_items: 40, num_ratings: 900}, feedback: implicit, centre: none}
model: {num_features: 4, item_bias: true}
train: {dtype: float64, lambda_: 0.7, lambda_power: 0.3, lambda_b: 0.2, alpha: 2, unknown_weight: 0.3}
"""


def model_of(
    tmp: Path,
    users: list[int] | list[str],
    items: list[int] | list[str],
    *overrides: str,
    item_bias: bool = True,
) -> Model:
    """Normal factors in float64 of these users and items, whose ids ascend."""
    model = made_up(tmp, len(users), len(items), *overrides, item_bias=item_bias)
    return replace(model, users=IdMap(pl.Series("id", users)), items=IdMap(pl.Series("id", items)))


class Started(NamedTuple):
    """What a run starts with: its problem and ratings, its factors as drawn and as started, and the log."""

    problem: Problem
    shard: UserShard
    drawn: Factors
    factors: Factors
    notes: list[str]


def started(comm: Comm, file: Path, overrides: list[str], model: Model) -> Started:
    """The factors before the first step of a run from a model; ratings are prepared beside its config."""
    config = load_config(file, overrides)
    store = file.parent / "prepared"
    with prepare_source(config.data, store) as prepared:
        prepared.keep(store)
    problem, shard = load_problem(config, store, torch.device("cpu"), comm)
    factors = initial_factors(problem)
    notes = StartModel(model).start(problem, shard, factors, comm)
    return Started(problem, shard, initial_factors(problem), factors, notes)


def bits_of(factors: Factors) -> dict[str, np.ndarray]:
    """The factors as arrays of one row per user or item."""
    biases = factors.biases()
    return {n: (t[0] if n in biases else t).numpy() for n, t in factors.by_name.items()}
