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


def test_a_value_that_evaluate_does_not_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(json.dumps(EVALUATION | {"rmse": "low"}))
    with pytest.raises(RunError, match=r"test\.json: rmse cannot be 'low'; it is damaged: evaluate again"):
        read_evaluations(tmp_path)
