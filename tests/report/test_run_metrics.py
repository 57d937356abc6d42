"""Metrics are read as they were written, and what is wrong with a line is said in one line."""

from pathlib import Path

import numpy as np
import pytest

from cofi_dist.errors import RunError
from cofi_dist.report.run_files import read_runs
from tests.support.written_runs import EVENTS_CONFIG, falling, rising, row, write_run


def test_the_speed_is_that_since_the_row_before(tmp_path: Path) -> None:
    rows = [row(1, 9.0), row(11, 8.0)]
    rows[0] |= {"seconds": 1.0, "ratings_per_second": 100.0}
    rows[1] |= {"seconds": 3.0, "ratings_per_second": 300.0}
    (run,) = read_runs([write_run(tmp_path / "a", rows)])
    assert run.metrics.speed.tolist() == [100.0, 400.0]


def test_a_run_that_went_on_counts_its_later_lines(tmp_path: Path) -> None:
    rows = [row(1, 9.0), row(2, 8.0), row(3, 7.0), row(2, 6.0)]
    (run,) = read_runs([write_run(tmp_path / "a", rows)])
    assert run.metrics.epoch.tolist() == [1, 2, 3]
    assert run.metrics.cost.tolist() == [9, 6, 7]


def test_what_is_not_finite_is_read_but_never_best(tmp_path: Path) -> None:
    rows = [row(1, float("nan"), validation_rmse=float("nan")), row(2, float("inf"))]
    (run,) = read_runs([write_run(tmp_path / "a", rows)])
    assert np.isnan(run.metrics.cost[0])
    assert run.metrics.best is None


def test_the_metric_of_the_config_decides_which_epoch_is_best(tmp_path: Path) -> None:
    (run,) = read_runs([write_run(tmp_path / "lists", rising(), config=EVENTS_CONFIG)])
    assert list(run.metrics.validation) == ["ndcg"]
    assert run.metrics.validation["ndcg"][3] == 0.35
    assert (run.metrics.best, run.metrics.criterion.title()) == (3, "NDCG@20")
    rows = [row(1, 9.0, validation_rmse=1.0, validation_mae=0.9)]
    rows.append(row(2, 8.0, validation_rmse=1.1, validation_mae=0.8))
    config = "run_dir: x\ndata: {ratings: r.csv, validation: {}}\nvalidation: {every: 1, metric: mae}\n"
    (run,) = read_runs([write_run(tmp_path / "mae", rows, config=config)])
    assert (run.metrics.best, run.metrics.criterion.title()) == (1, "MAE")
    (run,) = read_runs([write_run(tmp_path / "no config", rows)])
    assert (run.metrics.best, run.metrics.criterion.title()) == (0, "RMSE")
    (run,) = read_runs([write_run(tmp_path / "no config, lists", rising(metric="recall"))])
    assert (run.metrics.best, run.metrics.criterion.title()) == (3, "recall")


NOT_METRICS = {
    "{": "line 2: is not JSON: Expecting property name enclosed in double quotes",
    "": "line 2: is not JSON: Expecting value",
    "[1]": "line 2: must hold an object, not [1]",
    '{"epoch": 1, "cost": "low"}': "line 2: cost must be a number, not 'low'",
    '{"epoch": 1}': "line 2: cost must be a number, not None",
    '{"epoch": true}': "line 2: epoch must be a number, not True",
    '{"epoch": 0, "cost": 1, "seconds": 1, "ratings_per_second": 1}': (
        "line 2: epoch must be 1 or more, not 0"
    ),
}


@pytest.mark.parametrize("line", NOT_METRICS)
def test_a_line_that_no_run_wrote_is_named(line: str, tmp_path: Path) -> None:
    directory = write_run(tmp_path / "a", falling(1))
    with (directory / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RunError) as caught:
        read_runs([directory])
    said = f"{directory}/metrics.jsonl: {NOT_METRICS[line]}; it is damaged: mend or remove that line"
    assert str(caught.value) == said
