"""The table of epochs has the last line of each, and a damaged file is named with its line."""

from pathlib import Path

import pytest

from cofi_dist.errors import RunError
from cofi_dist.model.history import history_table, read_history
from tests.support.written_runs import row, write_run


def test_epochs_ascend_and_those_trained_again_count_once() -> None:
    rows = [row(1, 9.0), row(11, 5.0), row(21, 4.0), row(11, 6.0, validation_rmse=1.0, validation_k=3)]
    table = history_table(rows)
    assert table["epoch"].to_list() == [1, 11, 21]
    assert table["cost"].to_list() == [9.0, 6.0, 4.0]
    assert table["validation_rmse"].to_list() == [None, 1.0, None]
    assert table["validation_k"].to_list() == [None, 3, None]


def test_a_run_may_have_no_metrics(tmp_path: Path) -> None:
    assert read_history(None).is_empty()
    assert read_history(tmp_path).is_empty()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2: is not JSON"),
        ("3", "line 2: must hold an object, not 3"),
        ('{"epoch": 2}', "line 2: cost must be a number, not None"),
        ('{"epoch": 0, "cost": 1, "seconds": 1}', "line 2: epoch must be a whole number, 1 or more, not 0"),
        ('{"epoch": true}', "line 2: epoch must be a number, not True"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    run = write_run(tmp_path / "run", [row(1, 9.0)])
    (run / "model").mkdir()
    with (run / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RunError, match=says):
        read_history(run)
