"""Define the pictures of a model that only a report has: its calibration, and where its lists go."""

from typing import TYPE_CHECKING

import numpy as np

from cofi_dist.report.calibration import Calibration
from cofi_dist.report.panels import COLOURS, GUIDE, Panel
from cofi_dist.report.popularity import bin_name
from cofi_dist.report.sample_lists import SampleLists
from cofi_dist.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def calibration_panel(found: Calibration, part: str) -> Panel:
    """Return the picture of predicted ratings beside those that were given."""

    def draw(axes: "Axes") -> None:
        ends = [found.predicted.min(), found.predicted.max()]
        axes.plot(ends, ends, color="#888888", linestyle="--", linewidth=0.9, gid=GUIDE)
        error = np.nan_to_num(1.96 * found.error)
        axes.errorbar(found.predicted, found.actual, error, fmt="none", ecolor=COLOURS[0], elinewidth=1)
        axes.plot(found.predicted, found.actual, "o-", color=COLOURS[0], markersize=4)
        axes.set_xlabel("mean prediction")
        axes.set_ylabel(f"mean {part} rating")

    def tip(predicted: float, actual: float) -> str:
        number = int(found.count[np.argmin(np.abs(found.predicted - predicted))])
        return f"predicted {predicted:.2f}, given {actual:.2f}, over {counted(number, 'rating')}"

    caption = (
        f"Each point is a bin of predictions: their mean, and the mean of the {part} ratings that they are"
        " of, with its 95 % interval. On the dashed line they agree."
    )
    return Panel(f"Calibration: off by {found.mean_gap:.3f} on average", caption, draw, tip=tip)


def exposure_panel(found: SampleLists) -> Panel:
    """Return the picture of which items lists consist of, beside which ones are rated."""
    shown = np.flatnonzero((found.places > 0) | (found.training > 0))
    nouns = f"{found.noun}s"

    def draw(axes: "Axes") -> None:
        middle = np.arange(len(shown))
        curves = ((found.places, COLOURS[0], "lists"), (found.training, COLOURS[5], f"training {nouns}"))
        for shift, (shares, colour, label) in zip((-0.2, 0.2), curves, strict=True):
            axes.bar(middle + shift, 100 * shares[shown], 0.4, color=colour, label=label)
        axes.set_xticks(middle, [bin_name(int(k)) for k in shown], fontsize=7.5)
        axes.grid(visible=False, axis="x")
        axes.set_ylim(0, 125 * max(found.places.max(), found.training.max(), 0.01))  # the legend has room
        axes.legend(loc="upper left", ncols=2)
        axes.set_xlabel(f"training {nouns} of the item")
        axes.set_ylabel("share in %")

    caption = (
        f"By popularity of the item: the share of the places in the lists of {found.k} of"
        f" {counted(found.num_counted, 'user')}, and the share of all training {nouns}."
    )
    return Panel("Where lists go", caption, draw)
