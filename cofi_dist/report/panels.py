"""Define the pictures of one or more runs; a picture without data is left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cofi_dist.report.axes import log_axis, short, short_numbers
from cofi_dist.report.popularity import ByPopularity, bin_name
from cofi_dist.report.run_files import RunFiles
from cofi_dist.training.metrics import ERRORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The palette of Okabe and Ito, which colour-blind people can tell apart. Its yellow is left out: it is too
# pale for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", ":", "-.")  # vary too, so that a curve under another one shows through
GUIDE = "guide"  # of a line that is no curve
MOST_MARKED_POINTS = 30  # a curve of at most so many points has a mark at each
WORST_SHOWN = 1.25  # an axis ends at this multiple of the largest of the runs' lowest and last values
DRAWABLE_COSTS = 1e-100, 1e100  # nearer to the limits of a float, the ticks of a log axis overflow

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """Describe one picture.

    Attributes:
        title: includes the most important figure, if there is only one run.
        caption: a sentence or two on how to read the picture.
        draw: draws the picture on axes, without the title.
        wide: whether the picture has many labels side by side.
        tip: says what a point of a curve is, for a pointer that rests on it; None for no such text.
    """

    title: str
    caption: str
    draw: Callable[["Axes"], None]
    wide: bool = False
    tip: Callable[[float, float], str] | None = None


def run_style(number: int) -> dict[str, Any]:
    """Return the colour and the dashes of a run, given its number among the runs."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def build_panels(runs: Sequence[RunFiles], by_popularity: Sequence[ByPopularity | None]) -> list[Panel]:
    """Return all pictures for which there is something to show.

    Args:
        runs: at least one.
        by_popularity: each run's figures by popularity of the item; None if unknown.
    """
    measured = [(run.metrics.criterion, name) for run in runs for name in run.metrics.validation]
    figures = {criterion.full_title(name): name for criterion, name in measured}
    kinds = dict.fromkeys(type(found) for found in by_popularity if found is not None)
    found = [
        _cost_panel(runs),
        *(_validation_panel(runs, title, name) for title, name in figures.items()),
        _throughput_panel(runs),
        _balance_panel(runs),
        *(
            _popularity_panel([each if type(each) is kind else None for each in by_popularity])
            for kind in kinds
        ),
    ]
    return [panel for panel in found if panel is not None]


def _draw_curves(axes: "Axes", runs: Sequence[RunFiles], columns: Sequence[Values]) -> None:
    """Draw the finite values of each run over its epochs."""
    from matplotlib.ticker import MaxNLocator

    for number, (run, values) in enumerate(zip(runs, columns, strict=True)):
        known = np.isfinite(values)
        marker = "." if known.sum() <= MOST_MARKED_POINTS else ""
        axes.plot(run.metrics.epoch[known], values[known], marker=marker, **run_style(number))
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10], min_n_ticks=1))
    axes.set_xlabel("epoch")


def _cost_panel(runs: Sequence[RunFiles]) -> Panel | None:
    # a log axis cannot show values that are not positive, nor label those outside the range
    low, high = DRAWABLE_COSTS
    costs = [np.where((c > low) & (c < high), c, np.nan) for c in (run.metrics.cost for run in runs)]
    if not any(np.isfinite(cost).any() for cost in costs):
        return None

    def draw(axes: "Axes") -> None:
        _draw_curves(axes, runs, costs)
        log_axis(axes, np.concatenate(costs))
        axes.set_ylabel("J, log scale")

    title = "Cost"
    if len(runs) == 1:
        last = int(np.flatnonzero(np.isfinite(costs[0]))[-1])
        title = f"Cost: {costs[0][last]:,.6g} at epoch {runs[0].metrics.epoch[last]:,.0f}"
    caption = "The cost J before the step of each printed epoch."
    return Panel(title, caption, draw, tip=lambda epoch, cost: f"epoch {epoch:,.0f}: {cost:,.6g}")


def _validation_panel(runs: Sequence[RunFiles], title: str, name: str) -> Panel | None:
    """Return the picture of a figure on the validation ratings: of the runs that call it by this title."""
    missing = [np.full(len(run.metrics.epoch), np.nan) for run in runs]
    columns = [
        run.metrics.validation.get(name, none) if run.metrics.criterion.full_title(name) == title else none
        for run, none in zip(runs, missing, strict=True)
    ]
    if not any(np.isfinite(values).any() for values in columns):
        return None
    best = [run.metrics.best for run in runs]

    def draw(axes: "Axes") -> None:
        _draw_curves(axes, runs, columns)
        for number, row in enumerate(best):
            if row is not None and np.isfinite(columns[number][row]):
                ring = {"markersize": 9, "fillstyle": "none", "color": run_style(number)["color"]}
                axes.plot(runs[number].metrics.epoch[row], columns[number][row], "o", **ring)
        if name in ERRORS:
            _hide_the_start(axes, columns)
        axes.set_ylabel(title)

    headline = f"Validation {title}"
    if len(runs) == 1 and best[0] is not None:
        headline += f": {columns[0][best[0]]:.4f} at epoch {runs[0].metrics.epoch[best[0]]:,.0f}"
    deciding = dict.fromkeys(
        f"the {'lowest' if criterion.metric in ERRORS else 'highest'} {criterion.title()}"
        for run, values in zip(runs, columns, strict=True)
        if np.isfinite(values).any() and (criterion := run.metrics.criterion)
    )
    caption = (
        f"{title} on the held-out validation part, which is not trained on. The ring marks the epoch with"
        f" {' or '.join(deciding)}."
    )
    if name in ERRORS:
        caption += " Far higher values, as at the start, lie outside the picture."
    return Panel(headline, caption, draw, tip=lambda epoch, figure: f"epoch {epoch:,.0f}: {figure:.4f}")


def _hide_the_start(axes: "Axes", columns: Sequence[Values]) -> None:
    """Cut off values far above every run's lowest and last value; otherwise these could not be told apart."""
    known = [values[np.isfinite(values)] for values in columns]
    ends = [end for values in known if len(values) for end in (values.min(), values[-1])]
    low, high = min(ends), WORST_SHOWN * max(ends)
    if high > low and any((values > high).any() for values in known):
        margin = 0.05 * (high - low)
        axes.set_ylim(low - margin, high)


def _throughput_panel(runs: Sequence[RunFiles]) -> Panel | None:
    speeds = [run.metrics.speed for run in runs]
    known = [speed[np.isfinite(speed)] for speed in speeds]
    if not any(map(len, known)):
        return None

    def draw(axes: "Axes") -> None:
        _draw_curves(axes, runs, speeds)
        axes.set_ylim(0, 1.08 * max(speed.max() for speed in known if len(speed)))
        short_numbers(axes.yaxis)
        axes.set_ylabel(f"{nouns}/s")

    title, nouns = "Throughput", _nouns(runs)
    if len(runs) == 1:
        title += f": {short(runs[0].metrics.mean_speed)} {nouns}/s over all"
    caption = (
        f"Training {nouns} per second on all ranks, from one printed epoch to the next. Starting up slows"
        " the first value, and validation takes time too."
    )

    def tip(epoch: float, speed: float) -> str:
        return f"epoch {epoch:,.0f}: {short(speed)} {nouns}/s"

    return Panel(title, caption, draw, tip=tip)


def _balance_panel(runs: Sequence[RunFiles]) -> Panel | None:
    sharded = [(number, run.shards) for number, run in enumerate(runs) if run.shards is not None]
    if not any(len(shards.ratings) > 1 for _, shards in sharded):
        return None  # one rank has all ratings: there is nothing to balance
    nouns = _nouns([runs[number] for number, _ in sharded])
    caption = (
        f"{nouns.capitalize()} of each rank, including held-out ones, relative to the mean. The fullest rank"
        " sets the pace."
    )
    if len(runs) == 1:
        shards = sharded[0][1]

        def bars(axes: "Axes") -> None:
            ranks = np.arange(len(shards.ratings))
            axes.bar(ranks, shards.ratings, width=0.8 if len(ranks) <= 64 else 1.0, color=COLOURS[4])
            axes.axhline(shards.ratings.mean(), color="black", linestyle="--", label="mean")
            axes.set_ylim(0, 1.25 * max(shards.ratings.max(), 1))  # the legend has room above
            axes.legend(loc="upper right")
            middle, half_width = (len(ranks) - 1) / 2, max(len(ranks), 6) / 2
            axes.set_xlim(middle - half_width, middle + half_width)  # two bars would fill the picture
            if len(ranks) <= 16:
                axes.set_xticks(ranks)
            axes.grid(visible=False, axis="x")
            short_numbers(axes.yaxis)
            axes.set_xlabel("rank")
            axes.set_ylabel(nouns)

        return Panel(f"Balance: the fullest rank has {shards.load.max():.2f} of the mean", caption, bars)

    size = min(14, 100 / len(sharded))  # rows of strokes must not touch

    def strokes(axes: "Axes") -> None:
        for line, (number, shards) in enumerate(sharded):
            row = np.full(len(shards.load), line)
            colour = run_style(number)["color"]
            axes.plot(shards.load, row, "|", color=colour, markersize=size, markeredgewidth=1.5)
        axes.axvline(1.0, color="black", linestyle="--", linewidth=0.8, zorder=0)
        names = [f"{len(s.ratings)} rank{'s' * (len(s.ratings) > 1)}" for _, s in sharded]
        axes.set_yticks(range(len(sharded)), names if len(sharded) <= 12 else [""] * len(sharded))
        axes.set_ylim(len(sharded) - 0.4, -0.6)  # the first run on top
        most = max(float(np.abs(s.load - 1).max()) for _, s in sharded)
        axes.set_xlim(1 - 1.2 * max(most, 0.05), 1 + 1.2 * max(most, 0.05))
        axes.set_xlabel(f"{nouns} of each rank, relative to the mean")

    return Panel("Balance: a stroke for each rank", caption, strokes)


def _popularity_panel(by_popularity: Sequence[ByPopularity | None]) -> Panel:
    """Return the picture of figures of one kind, of which there is at least one."""
    known = [(number, found) for number, found in enumerate(by_popularity) if found is not None]
    kind, nouns = known[0][1], f"{known[0][1].noun}s"
    counts = np.zeros((len(known), max(len(found.count) for _, found in known)), np.int64)
    for row, (_, found) in enumerate(known):
        counts[row, : len(found.count)] = found.count
    shown = np.flatnonzero(counts.any(axis=0))

    def draw(axes: "Axes") -> None:
        for number, found in known:
            bins = shown[shown < len(found.count)]
            axes.plot(
                np.searchsorted(shown, bins),
                found.by_bin[bins],
                marker="o",
                markersize=4,
                **run_style(number),
            )
        labels = [f"{bin_name(int(k))}\n{_least_count(counts[:, k])}" for k in shown]
        axes.set_xticks(range(len(shown)), labels, fontsize=7.5)
        axes.set_xlim(-0.5, len(shown) - 0.5)
        least = " (+: at least)" if (counts != counts[0]).any() else ""
        axes.set_xlabel(f"training {nouns} of the item; below them, how many {nouns} are judged{least}")
        axes.set_ylabel(kind.title)

    held = dict.fromkeys(found.part for _, found in known if found.part != "train")
    on = f"on {' or '.join(held)} {nouns}" if held else "on training ratings, as none were held out"
    if held and any(found.part == "train" for _, found in known):
        on += " (training ratings where none were held out)"
    title = f"{kind.title} by popularity of the item, {on}"
    if len(by_popularity) == 1:
        title += f": {kind.overall:.4f} over all"

    def tip(place: float, figure: float) -> str:
        return f"{bin_name(int(shown[round(place)]))} training {nouns}: {figure:.4f}"

    return Panel(title, kind.caption, draw, wide=True, tip=tip)


def _nouns(runs: Sequence[RunFiles]) -> str:
    """Return what the pairs of the runs' data are called."""
    return " or ".join(dict.fromkeys(f"{run.noun}s" for run in runs))


def _least_count(counts: NDArray[np.int64]) -> str:
    """Return the smallest number of ratings that a run with any has in a bin, with a + if the runs differ."""
    return short(counts[counts > 0].min()) + ("+" if (counts != counts[0]).any() else "")
