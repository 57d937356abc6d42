"""Figures of panels, and the PNGs that hold them.

matplotlib's settings are changed only while a figure is drawn, and pyplot, which keeps figures, is
not used.
"""

import importlib.util
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cofi_dist import __version__
from cofi_dist.errors import ConfigError
from cofi_dist.report.panels import Panel, run_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WRITER = f"cofi-dist {__version__}"
WIDTH, HEIGHT, LOW, DPI = 5.2, 3.1, 2.5, 130  # of a panel in inches; low where it has a row to itself
MOST_IN_LEGEND = 28  # as many as there are colours with dashes
STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "font.size": 9,
    "grid.color": "#e0e0e0",
    "lines.linewidth": 1.4,
    "text.parse_math": False,  # a dollar in the name of a run is a dollar
}


def require_matplotlib() -> None:
    """Raise ConfigError unless matplotlib is installed, and finds a folder for what it keeps."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("pictures need matplotlib: pip install matplotlib")
    try:
        import matplotlib

        matplotlib.get_cachedir()
    except OSError:
        raise ConfigError(
            "pictures need a folder that matplotlib can write to; set MPLCONFIGDIR to one"
        ) from None


def draw_all(panels: Sequence[Panel], names: Sequence[str]) -> bytes:
    """All panels in one PNG, two side by side.

    Args:
        panels: at least one.
        names: of the runs; one is the title, more are a legend beside no curve.
    """
    from matplotlib.figure import Figure

    rows = _rows(panels)
    heights = [LOW if len(row) == 1 else HEIGHT for row in rows]
    with _drawing():
        figure = Figure(figsize=(2 * WIDTH, sum(heights) + 0.4), layout="constrained")
        grid = figure.add_gridspec(len(rows), 2, height_ratios=heights)
        for number, row in enumerate(rows):
            for column, panel in enumerate(row):
                axes = figure.add_subplot(grid[number, column if len(row) > 1 else slice(None)])
                panel.draw(axes)
                axes.set_title(panel.title)
        if len(names) == 1:
            figure.suptitle(names[0], x=0.01, horizontalalignment="left", fontweight="bold")
        else:
            _legend(figure, names)
        return _png(figure)


def draw_one(panel: Panel) -> bytes:
    """One panel as a PNG, without its title."""
    from matplotlib.figure import Figure

    with _drawing():
        figure = Figure(figsize=(1.4 * WIDTH if panel.wide else WIDTH, HEIGHT), layout="constrained")
        panel.draw(figure.add_subplot())
        return _png(figure)


def _rows(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Two panels a row; a wide one, or an odd one out, has its row to itself."""
    narrow = [panel for panel in panels if not panel.wide]
    pairs = [narrow[at : at + 2] for at in range(0, len(narrow), 2)]
    return [*pairs, *([panel] for panel in panels if panel.wide)]


def _legend(figure: "Figure", names: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], **run_style(number)) for number in range(min(len(names), MOST_IN_LEGEND))]
    labels = list(names[: len(lines)])
    if len(lines) < len(names):
        lines.append(Line2D([], [], linestyle=""))
        labels.append(f"and {len(names) - MOST_IN_LEGEND} more")
    fit = min(5, max(1, int(24 * WIDTH / (max(map(len, labels)) + 8))))
    columns = math.ceil(len(labels) / math.ceil(len(labels) / fit))  # so that the last line is full
    figure.legend(lines, labels, loc="outside upper left", ncols=columns, frameon=False, handlelength=3.5)


@contextmanager
def _drawing() -> Iterator[None]:
    """Settings of ours, whatever the user's matplotlibrc says; a letter that no font has is a box."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def _png(figure: "Figure") -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": WRITER})
    return content.getvalue()
