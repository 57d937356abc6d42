"""`cost: sparse` on the real ratings follows the losses that the notebook printed."""

import csv
from pathlib import Path

import pytest

from tests.support.training_runs import train_on

PRINTED = Path(__file__).with_name("notebook_loss.csv")


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_printed_epoch_within_1_5_percent(seed: int, movielens: Path, tmp_path: Path) -> None:
    with PRINTED.open() as file:
        printed = {int(row["epoch"]): float(row["loss"]) for row in csv.DictReader(file)}
    assert len(printed) == 42
    config = f"data:\n  ratings: {movielens}\n"
    ours = train_on(1, config, [f"seed={seed}", "train.epochs=4100"], tmp_path, seconds=500)
    for epoch, loss in printed.items():
        assert ours.costs[epoch] == pytest.approx(loss, rel=0.015), epoch
