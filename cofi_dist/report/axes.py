"""Label the axes of pictures: with short numbers, and on log scales with enough of them."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def short(count: float) -> str:
    """Format a number in at most five characters: 12, 1.2k, 340k, 5M."""
    if not 0 < count < np.inf:
        return f"{count:g}"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.3g}"


def log_axis(axes: "Axes", values: NDArray[np.float64]) -> None:
    """Set a log scale with enough labels to read it: the fewer decades, the more labels in each."""
    from matplotlib.ticker import LogLocator, NullLocator

    powers = np.log10(values[np.isfinite(values)])
    margin = max(0.05 * np.ptp(powers), 0.05)
    low, high = powers.min() - margin, powers.max() + margin
    axes.set_ylim(10.0**low, 10.0**high)
    axes.set_yscale("log")
    if high - low < 3:
        subs = (1, 2, 5) if high - low > 1 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=20))
        axes.yaxis.set_minor_locator(NullLocator())
    short_numbers(axes.yaxis)


def short_numbers(axis: Any) -> None:
    """Label an axis with short numbers."""
    axis.set_major_formatter(lambda value, _: short(value))
