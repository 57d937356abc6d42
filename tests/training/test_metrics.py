"""What is measured of an epoch."""

import dataclasses

from cofi_dist.training.metrics import Accuracy, EpochMetrics


def test_metrics_have_the_fields_of_metrics_jsonl() -> None:
    assert [f.name for f in dataclasses.fields(EpochMetrics)] == [
        "epoch",
        "cost",
        "seconds",
        "ratings_per_second",
        "validation_rmse",
        "validation_mae",
    ]


def test_an_accuracy_reads_as_it_is_logged() -> None:
    assert str(Accuracy(0.87126, 0.66)) == "validation RMSE 0.8713, MAE 0.6600"
