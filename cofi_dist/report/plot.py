"""Draw panels into PNGs.

matplotlib's settings are changed only while a figure is drawn. pyplot is not used, as it keeps figures.
"""

import importlib.util
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cofi_dist.errors import ConfigError
from cofi_dist.report.panels import Panel, run_style
from cofi_dist.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WRITER = f"cofi-dist {__version__}"
WIDTH, HEIGHT = 5.2, 3.1  # of a panel, in inches
HEIGHT_ALONE = 2.5  # of a panel that has a row to itself
DPI = 130
MOST_IN_LEGEND = 28  # the number of combinations of colour and dashes
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
    "text.parse_math": False,  # a dollar sign in the name of a run is not markup
}


def require_matplotlib() -> None:
    """Raise ConfigError unless matplotlib is installed and has a folder for its cache."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("pictures need matplotlib: pip install 'cofi-dist[plot]'")
    try:
        import matplotlib

        matplotlib.get_cachedir()
    except OSError:
        raise ConfigError(
            "pictures need a folder that matplotlib can write to; set MPLCONFIGDIR to one"
        ) from None


def draw_panels(panels: Sequence[Panel], names: Sequence[str]) -> bytes:
    """Draw all panels into one PNG, two per row.

    Args:
        panels: at least one.
        names: of the runs. One name becomes the title; several become a legend above all panels.
    """
    from matplotlib.figure import Figure

    rows = _rows(panels)
    heights = [HEIGHT_ALONE if len(row) == 1 else HEIGHT for row in rows]
    with _our_settings():
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
        return _encode_png(figure)


def draw_panel(panel: Panel) -> bytes:
    """Draw one panel into a PNG, without its title."""
    from matplotlib.figure import Figure

    with _our_settings():
        figure = Figure(figsize=(1.4 * WIDTH if panel.wide else WIDTH, HEIGHT), layout="constrained")
        panel.draw(figure.add_subplot())
        return _encode_png(figure)


def _rows(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Arrange two panels per row; a wide one, or an odd one out, has a row to itself."""
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
    columns = math.ceil(len(labels) / math.ceil(len(labels) / fit))  # so that the last row is full
    figure.legend(lines, labels, loc="outside upper left", ncols=columns, frameon=False, handlelength=3.5)


@contextmanager
def _our_settings() -> Iterator[None]:
    """Apply our settings, whatever the user's matplotlibrc says; a letter that no font has becomes a box."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def _encode_png(figure: "Figure") -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": WRITER})
    return content.getvalue()
