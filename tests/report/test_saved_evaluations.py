"""Files of figures in a run directory are recognised by their keys, shown by their titles, and checked."""

import json
from pathlib import Path

import pytest

from cofi_dist.errors import RunError
from cofi_dist.report.saved_evaluations import read_evaluations
from tests.support.written_runs import EVALUATION


def test_files_with_the_keys_of_an_evaluation_are_read_and_others_skipped(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(json.dumps(EVALUATION))
    (tmp_path / "notes.json").write_text('{"rmse": 1}')
    (tmp_path / "half.json").write_text('{"rmse": 1')
    (found,) = read_evaluations(tmp_path)
    assert (found.name, found.outdated) == ("test.json", False)
    assert found.figures == {
        "ratings": "1,200",
        "users": "7",
        "RMSE": "0.8765",
        "MAE": "0.5000",
        "unseen items": "0",
        "k": "10",
        "ranked users": "6",
        "NDCG": "0.2500",
        "MAP": "-",
    }


def test_a_model_of_events_has_no_errors_to_show(tmp_path: Path) -> None:
    without = dict.fromkeys(("rmse", "mae", "rmse_by_user", "mae_by_user"))
    (tmp_path / "test.json").write_text(json.dumps(EVALUATION | without))
    (found,) = read_evaluations(tmp_path)
    assert not [title for title in found.figures if "RMSE" in title or "MAE" in title]
    assert found.figures["NDCG"] == "0.2500"


def test_figures_have_their_intervals(tmp_path: Path) -> None:
    ranking = {"k": 10, "relevant": None, "users": 6, "ndcg": 0.25, "map": None} | {
        "mrr": 0.5,
        "gini": 0.9,
        "intervals": {"mrr": [0.4, 0.6]},
    }
    new = {"rmse": None, "mae": None, "sample": None, "intervals": {}, "ranking": ranking}
    (tmp_path / "test.json").write_text(json.dumps(EVALUATION | new))
    (found,) = read_evaluations(tmp_path)
    assert found.figures == {
        "ratings": "1,200",
        "users": "7",
        "unseen items": "0",
        "k": "10",
        "ranked users": "6",
        "NDCG": "0.2500",
        "MAP": "-",
        "MRR": "0.5000 (0.4000 to 0.6000)",
        "Gini": "0.9000",
    }


@pytest.mark.parametrize("intervals", [[0.1, 0.2], {"rmse": [0.1]}, {"rmse": ["a", "b"]}, {"rmse": 3}])
def test_intervals_that_evaluate_does_not_write_are_refused(intervals: object, tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(json.dumps(EVALUATION | {"intervals": intervals}))
    with pytest.raises(RunError, match=r"test\.json: intervals cannot be .*; it is damaged"):
        read_evaluations(tmp_path)


def test_a_value_that_evaluate_does_not_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(json.dumps(EVALUATION | {"rmse": "low"}))
    with pytest.raises(RunError, match=r"test\.json: rmse cannot be 'low'; it is damaged: evaluate again"):
        read_evaluations(tmp_path)
