"""Draw panels: several into one PNG, or each into an SVG.

matplotlib's settings are changed only while a figure is drawn. pyplot is not used, as it keeps figures.
"""

import importlib.util
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cofi_dist.errors import ConfigError
from cofi_dist.report.panels import GUIDE, Panel, run_style
from cofi_dist.version import __version__

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WRITER = f"cofi-dist {__version__}"
WIDTH, HEIGHT = 5.2, 3.1  # of a panel, in inches
HEIGHT_ALONE = 2.5  # of a panel that has a row to itself
DPI = 130
TIPS, MOST_TIPS = "tips", 100  # of a curve
SVG_METADATA = ("Creator", "Date", "Format", "Type")
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
    "svg.fonttype": "none",  # text stays text
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


def draw_panel(panel: Panel) -> str:
    """Draw one panel, without its title, into an SVG element that can stand in a page among others.

    Text stays text, and a pointer that rests on a point of a curve is told what it is.
    """
    from matplotlib.figure import Figure

    with _our_settings() as settings:
        settings["svg.hashsalt"] = panel.title  # ids must differ from those of other pictures
        figure = Figure(figsize=(1.4 * WIDTH if panel.wide else WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        panel.draw(axes)
        tips = _add_tips(axes, panel.tip) if panel.tip is not None else []
        content = io.StringIO()
        figure.savefig(content, format="svg", transparent=True, metadata=dict.fromkeys(SVG_METADATA))
    return _element(content.getvalue(), panel.title, tips)


def _add_tips(axes: "Axes", tip: Callable[[float, float], str]) -> list[str]:
    """Draw an invisible disc on the points of every curve that are in the picture; return what each is."""
    limits = axes.get_xlim(), axes.get_ylim()
    curves = [np.asarray(line.get_xydata()) for line in axes.lines if line.get_gid() != GUIDE]
    inside = [
        (x, y)
        for x, y in (point for curve in curves if len(curve) > 1 for point in _spread(curve))
        if all(low <= value <= high for value, (low, high) in zip((x, y), limits, strict=True))
    ]
    if inside:
        across, up = zip(*inside, strict=True)
        axes.scatter(across, up, s=120, alpha=0, zorder=9, gid=TIPS)
        axes.set_xlim(limits[0])
        axes.set_ylim(limits[1])
    return [tip(x, y) for x, y in inside]


def _spread(points: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return at most MOST_TIPS points of a curve, spread evenly, the last one among them."""
    chosen = np.unique(np.linspace(0, len(points) - 1, min(MOST_TIPS, len(points))).round().astype(int))
    return [(float(x), float(y)) for x, y in points[chosen]]


def _element(document: str, title: str, tips: Sequence[str]) -> str:
    """Return the svg element of a document, which fits any width and holds a text for each point."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, count=2, flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]*"', svg)
    assert view is not None
    svg = re.sub(r"<svg[^>]*>", f'<svg role="img" aria-label="{escape(title)}" {view[0]}>', svg, count=1)
    svg = svg.replace("xlink:href", "href")
    before, found, after = svg.partition(f'<g id="{TIPS}">')
    texts = iter(tips)
    after = re.sub(
        r"(<use [^>]*)/>",
        lambda use: f"{use[1]}><title>{escape(text)}</title></use>" if (text := next(texts, "")) else use[0],
        after,
    )
    return re.sub(r' id="(?:[\w.]+_\d+|tips|guide)"', "", before + found + after if found else svg).strip()


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
def _our_settings() -> Iterator[Any]:
    """Yield our settings, whatever the user's matplotlibrc says; a letter that no font has becomes a box."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield matplotlib.rcParams


def _encode_png(figure: "Figure") -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": WRITER})
    return content.getvalue()
