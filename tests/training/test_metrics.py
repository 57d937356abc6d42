"""What is measured of an epoch."""

import math

import pytest

from cofi_dist.config import Metric
from cofi_dist.training.metrics import Accuracy, Criterion, EpochMetrics

ERRORS = Accuracy({"rmse": 0.87126, "mae": 0.66})
LISTS = Accuracy({"ndcg": 0.31234}, Criterion("ndcg", 10))


def test_metrics_have_the_names_of_metrics_jsonl() -> None:
    always = {"epoch": 3, "cost": 9.5, "seconds": 0.1, "ratings_per_second": 7.0}
    assert EpochMetrics(3, 9.5, 0.1, 7.0).to_json() == always
    errors = {"validation_rmse": 0.87126, "validation_mae": 0.66}
    assert EpochMetrics(3, 9.5, 0.1, 7.0, ERRORS).to_json() == always | errors
    lists = {"validation_ndcg": 0.31234, "validation_k": 10}
    assert EpochMetrics(3, 9.5, 0.1, 7.0, LISTS).to_json() == always | lists
    sample = Accuracy(LISTS.figures, Criterion("ndcg", 10, 500))
    assert EpochMetrics(3, 9.5, 0.1, 7.0, sample).to_json() == always | lists | {"validation_users": 500}


def test_an_accuracy_reads_as_it_is_logged() -> None:
    assert str(ERRORS) == "validation RMSE 0.8713, MAE 0.6600"
    assert str(LISTS) == "validation NDCG@10 0.3123"
    assert str(Accuracy({"hit_rate": 0.5}, Criterion("hit_rate", 3))) == "validation hit rate@3 0.5000"


@pytest.mark.parametrize(
    ("metric", "better", "worse"),
    [("rmse", 0.8, 0.9), ("mae", 0.8, 0.9), ("ndcg", 0.9, 0.8), ("hit_rate", 0.9, 0.8)],
)
def test_errors_are_better_if_lower_and_lists_if_higher(metric: Metric, better: float, worse: float) -> None:
    criterion = Criterion(metric)
    assert criterion.is_better(better, worse)
    assert not criterion.is_better(worse, better)
    assert not criterion.is_better(better, better)
    assert not criterion.is_better(math.nan, worse)
