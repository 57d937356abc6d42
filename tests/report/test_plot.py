"""Every combination of runs gives a picture, with what is known in it and nothing else."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from cofi_dist.errors import ConfigError
from cofi_dist.report.panels import build_panels
from cofi_dist.report.plot import MOST_TIPS, draw_panel, draw_panels, require_matplotlib
from cofi_dist.report.run_files import read_runs
from tests.support.written_runs import falling, popularity_errors, row, write_run

PNG = b"\x89PNG\r\n\x1a\n"


ONE = {
    "all there is": ({"ranks": [60, 40]}, popularity_errors(9, 0, 30)),
    "no validation": ({"rows": falling(validated=False)}, popularity_errors(9)),
    "no model": ({}, None),
    "one line": ({"rows": falling(1)}, popularity_errors(5)),
    "many lines": ({"rows": falling(300)}, popularity_errors(*range(1, 19))),
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
    found = build_panels(runs, [error])
    assert found
    assert draw_panels(found, ["a"]).startswith(PNG)
    for panel in found:
        drawn = ElementTree.fromstring(draw_panel(panel))
        assert (drawn.tag, drawn.get("role"), drawn.get("aria-label")) == ("svg", "img", panel.title)


def test_a_point_of_a_curve_says_what_it_is(tmp_path: Path) -> None:
    panel = build_panels(read_runs([write_run(tmp_path / "a", falling(300))]), [None])[0]
    titles = [title.text for title in ElementTree.fromstring(draw_panel(panel)).iter("title")]
    assert titles[0] == "epoch 1: 900"
    assert titles[-1] == "epoch 2,991: 3"
    assert len(titles) == MOST_TIPS
    evil = replace(panel, title="<b>&", tip=lambda x, y: "</title><script>")
    drawn = draw_panel(evil)
    assert "<script>" not in drawn
    assert "<b>" not in drawn


@pytest.mark.parametrize("count", [2, 3, 6, 12, 31])
def test_any_number_of_runs_of_any_name_is_drawn(count: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"$x^ {k} 東京 {'long ' * (k % 12)}" for k in range(count)]
    ranks = [rng.integers(50, 100, 1 + k % 4).tolist() for k in range(count)]
    runs = read_runs(
        [write_run(tmp_path / n, falling(2 + k, validated=k % 2 == 0), ranks[k]) for k, n in enumerate(names)]
    )
    known = [popularity_errors(*range(k, k + 9)) if k % 3 else None for k in range(count)]
    assert draw_panels(build_panels(runs, known), [run.name for run in runs]).startswith(PNG)


def test_drawing_leaves_no_setting_behind(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    draw_panel(build_panels(read_runs([write_run(tmp_path / "a")]), [None])[0])
    assert dict(mpl.rcParams) == before


def test_drawing_does_not_need_pyplot(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    code = (
        "import sys; from pathlib import Path\n"
        "from cofi_dist.report.run_files import read_runs\n"
        "from cofi_dist.report.panels import build_panels\n"
        "from cofi_dist.report.plot import draw_panels\n"
        "draw_panels(build_panels(read_runs([Path('a')]), [None]), ['a'])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_without_matplotlib_what_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'cofi-dist\[plot\]'"):
        require_matplotlib()
