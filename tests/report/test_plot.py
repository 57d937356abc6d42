"""Every combination of runs gives a picture, with what is known in it and nothing else."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from cofi_dist.errors import ConfigError
from cofi_dist.report import plot
from cofi_dist.report.panels import Panel, panels, run_style
from cofi_dist.report.plot import draw_all, draw_one, require_matplotlib
from cofi_dist.report.popularity import ByPopularity
from cofi_dist.report.run_files import read_runs
from tests.support.written_runs import falling, row, write_run

PNG = b"\x89PNG\r\n\x1a\n"


def errors(*counts: int, part: Any = "test") -> ByPopularity:
    count = np.array(counts)
    return ByPopularity(part, count, 0.81 * count, 0.7 * count)


def kinds(found: Sequence[Panel]) -> list[str]:
    return [panel.title.partition(":")[0] for panel in found]


ONE = {
    "all there is": ({"ranks": [60, 40]}, errors(9, 0, 30)),
    "no validation": ({"rows": falling(validated=False)}, errors(9)),
    "no model": ({}, None),
    "one line": ({"rows": falling(1)}, errors(5)),
    "many lines": ({"rows": falling(300)}, errors(*range(1, 19))),
    "no finite speed": ({"rows": [row(1, 9.0) | {"seconds": 0.0}]}, None),
    "costs astray": (
        {"rows": [row(k, cost) for k, cost in enumerate((9.0, float("nan"), float("inf"), -1.0, 0.0), 1)]},
        None,
    ),
    "many ranks": ({"ranks": list(range(1, 200))}, None),
    "empty ranks": ({"ranks": [0, 0]}, None),
    "an equal cost": ({"rows": [row(k, 5.0) for k in (1, 2)]}, None),
    "huge and tiny costs": ({"rows": [row(1, 1e90), row(2, 1e300), row(3, 1e-90)]}, None),
}


@pytest.mark.parametrize("kind", ONE)
def test_any_one_run_is_drawn(kind: str, tmp_path: Path) -> None:
    more, error = ONE[kind]
    runs = read_runs([write_run(tmp_path / "a", **more)])  # type: ignore[arg-type]
    found = panels(runs, [error])
    assert found
    assert draw_all(found, ["a"]).startswith(PNG)
    assert all(draw_one(panel).startswith(PNG) for panel in found)


@pytest.mark.parametrize("count", [2, 3, 6, 12, 31])
def test_any_number_of_runs_of_any_name_is_drawn(count: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"$x^ {k} 東京 {'long ' * (k % 12)}" for k in range(count)]
    ranks = [rng.integers(50, 100, 1 + k % 4).tolist() for k in range(count)]
    runs = read_runs(
        [write_run(tmp_path / n, falling(2 + k, validated=k % 2 == 0), ranks[k]) for k, n in enumerate(names)]
    )
    known = [errors(*range(k, k + 9)) if k % 3 else None for k in range(count)]
    assert draw_all(panels(runs, known), [run.name for run in runs]).startswith(PNG)


def test_a_picture_without_data_is_left_out(tmp_path: Path) -> None:
    (bare,) = read_runs([write_run(tmp_path / "a", falling(validated=False))])
    assert kinds(panels([bare], [None])) == ["Cost", "Throughput"]
    (full,) = read_runs([write_run(tmp_path / "b", ranks=[60, 40])])
    assert kinds(panels([full], [errors(9)])) == [
        *("Cost", "Validation RMSE", "Validation MAE", "Throughput"),
        *("Balance", "RMSE by popularity of the item, on test ratings"),
    ]
    nothing = read_runs([write_run(tmp_path / "c", [row(1, float("nan")) | {"seconds": 0.0}])])
    assert panels(nothing, [None]) == []


def test_titles_of_one_run_say_what_matters(tmp_path: Path) -> None:
    (run,) = read_runs([write_run(tmp_path / "a", ranks=[60, 40])])
    titles = [panel.title for panel in panels([run], [errors(10, part="train")])]
    assert titles == [
        "Cost: 180 at epoch 41",
        "Validation RMSE: 1.0000 at epoch 31",
        "Validation MAE: 0.8000 at epoch 31",
        "Throughput: 1.04k ratings/s over all",
        "Balance: the fullest rank has 1.20 of the mean",
        "RMSE by popularity of the item, on training ratings, as none were held out: 0.9000 over all",
    ]


def test_the_start_does_not_flatten_the_curve(tmp_path: Path) -> None:
    rows = [row(k, 9.0, validation_rmse=0.9 + 10 / k**2) for k in range(1, 100)]
    panel = panels(read_runs([write_run(tmp_path / "a", rows)]), [None])[1]
    axes = Figure().add_subplot()
    panel.draw(axes)
    low, high = axes.get_ylim()
    assert low < 0.902 < high < 1.2


def test_colours_and_dashes_tell_the_runs_apart() -> None:
    assert len({tuple(run_style(k).values()) for k in range(plot.MOST_IN_LEGEND)}) == plot.MOST_IN_LEGEND


def test_bins_name_the_ratings_judged_in_them() -> None:
    (panel,) = panels([], [errors(0, 5, 1200), None, errors(0, 5, 1300, 7)])[-1:]
    axes = Figure().add_subplot()
    panel.draw(axes)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1\n5", "2-3\n1.2k+", "4-7\n7+"]


def test_drawing_leaves_no_setting_behind(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    draw_one(panels(read_runs([write_run(tmp_path / "a")]), [None])[0])
    assert dict(mpl.rcParams) == before


def test_drawing_does_not_need_pyplot(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    code = (
        "import sys; from pathlib import Path\n"
        "from cofi_dist.report.run_files import read_runs\n"
        "from cofi_dist.report.panels import panels\n"
        "from cofi_dist.report.plot import draw_all\n"
        "draw_all(panels(read_runs([Path('a')]), [None]), ['a'])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_without_matplotlib_what_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="pip install matplotlib"):
        require_matplotlib()
