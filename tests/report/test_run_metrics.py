"""Metrics are read as they were written, and what is wrong with a line is said in one line."""

from pathlib import Path

import numpy as np
import pytest

from cofi_dist.errors import RunError
from cofi_dist.report.run_files import read_runs
from cofi_dist.training.metrics import Criterion
from tests.support.written_runs import EVENTS_CONFIG, falling, rising, row, write_run


def test_the_speed_is_that_since_the_row_before(tmp_path: Path) -> None:
    rows = [row(1, 9.0), row(11, 8.0), row(16, 7.0)]
    for line, seconds, epochs in zip(rows, (1.0, 3.0, 5.0), (1, 11, 16), strict=True):
        line |= {"seconds": seconds, "ratings_per_second": 80 * epochs / seconds}
    (run,) = read_runs([write_run(tmp_path / "a", rows)])
    assert np.isnan(run.metrics.speed[0]), "the first row is of before the first step"
    assert run.metrics.speed[1:].tolist() == [400.0, 200.0]
    assert run.metrics.mean_speed == 300.0


def test_one_row_has_no_speed(tmp_path: Path) -> None:
    (run,) = read_runs([write_run(tmp_path / "a", [row(1, 9.0)])])
    assert np.isnan([*run.metrics.speed, run.metrics.mean_speed]).all()


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


def test_figures_of_other_lists_are_not_compared(tmp_path: Path) -> None:
    longer = [row(k, 9.0, validation_ndcg=0.5, validation_k=50) for k in (1, 2)]
    sample = row(3, 9.0, validation_ndcg=0.6, validation_k=3, validation_users=20)
    recall = row(4, 9.0, validation_recall=0.7, validation_k=3)
    ours = [row(k, 9.0, validation_ndcg=k / 100, validation_k=3) for k in (6, 7)]
    rows = [*longer, sample, recall, row(5, 9.0), *ours]
    for name, config in (("with", EVENTS_CONFIG.replace("k: 20", "k: 3")), ("without", "")):
        (run,) = read_runs([write_run(tmp_path / name, rows, config=config)])
        assert run.metrics.criterion == Criterion("ndcg", 3)
        assert list(run.metrics.validation) == ["ndcg"]
        want = [np.nan] * 5 + [0.06, 0.07]
        assert np.array_equal(run.metrics.validation["ndcg"], want, equal_nan=True)
        assert run.metrics.best == 6


def test_the_figure_is_that_by_which_the_run_was_judged_last(tmp_path: Path) -> None:
    rows = [row(1, 9.0, validation_ndcg=0.5, validation_k=50), row(2, 9.0)]
    (run,) = read_runs([write_run(tmp_path / "not yet", rows, config=EVENTS_CONFIG)])
    assert (run.metrics.criterion, run.metrics.best) == (Criterion("ndcg", 50), 0)
    rows = [row(9, 9.0, validation_ndcg=0.5, validation_k=50), *rising()]
    rows[-1] |= {"validation_k": 3, "validation_users": 20}
    (run,) = read_runs([write_run(tmp_path / "written last", rows, config=EVENTS_CONFIG)])
    assert run.metrics.criterion == Criterion("ndcg", 3, 20)
    assert np.isnan(run.metrics.validation["ndcg"][-1])


def test_lists_of_an_earlier_version_have_the_length_of_the_config(tmp_path: Path) -> None:
    assert "validation_k" not in rising()[0]
    (run,) = read_runs([write_run(tmp_path / "old", rising(), config=EVENTS_CONFIG)])
    assert (run.metrics.criterion, run.metrics.best) == (Criterion("ndcg", 20), 3)
    rows = [*rising(), row(6, 9.0, validation_ndcg=0.1, validation_k=20)]
    (run,) = read_runs([write_run(tmp_path / "gone on with", rows, config=EVENTS_CONFIG)])
    assert (run.metrics.criterion, run.metrics.best) == (Criterion("ndcg", 20), 3)


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
    '{"epoch": 2, "cost": 1, "seconds": 1, "ratings_per_second": 1, "validation_k": "ten"}': (
        "line 2: validation_k must be a number, not 'ten'"
    ),
    '{"epoch": 2, "cost": 1, "seconds": 1, "ratings_per_second": 1, "validation_users": 0}': (
        "line 2: validation_users must be 1 or more, not 0"
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
