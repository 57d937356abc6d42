"""Small trainers by Adam, and who hears of their progress."""

import math

import torch

from cofi_dist.config import TrainSection
from cofi_dist.cost import Cost
from cofi_dist.cost.dense import DenseCost
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.factors import Factors
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.training.build import build_adam
from cofi_dist.training.metrics import EpochMetrics
from cofi_dist.training.trainer import Trainer
from cofi_dist.training.validation import Validation
from tests.support.problems import (
    random_ratings,
    sparse_cost,
)


class Recorder:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.initial_cost = math.nan
        self.steps: list[int] = []
        self.metrics: list[EpochMetrics] = []
        self.notes: list[str] = []

    def info(self, text: str) -> None:
        self.notes.append(text)

    def on_start(self, cost: float, epoch: int) -> None:
        self.initial_cost = cost

    def on_step(self, epoch: int) -> None:
        self.steps.append(epoch)

    def on_metrics(self, metrics: EpochMetrics) -> None:
        self.metrics.append(metrics)


CPU = torch.device("cpu")


def make_cost(kind: str = "sparse") -> Cost:
    shard = UserShard.single_block(UserRange(0, 6), 8, random_ratings(6, 8, 20))
    return sparse_cost(shard) if kind == "sparse" else DenseCost(shard, CPU)


def make_trainer(
    cost: Cost,
    factors: Factors,
    settings: TrainSection,
    comm: Comm | None = None,
    *,
    regulariser: Regulariser | None = None,
    validation: Validation | None = None,
) -> Trainer:
    """On 20 ratings, by Adam; alone unless there is a comm."""
    comm = comm or SoloComm()
    regulariser = regulariser or Regulariser(settings.lambda_, settings.lambda_b)
    return Trainer(
        factors=factors,
        optimizer=build_adam(cost, factors, regulariser, settings, is_alone=comm.world_size == 1),
        settings=settings,
        num_ratings=20,
        comm=comm,
        reducer=comm,
        validation=validation,
    )
