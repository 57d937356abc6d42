"""Read the figures that `evaluate --output` wrote into a run directory."""

from dataclasses import dataclass
from pathlib import Path

from cofi_dist.errors import RunError
from cofi_dist.files.reading import LONGEST, read_json, shortened
from cofi_dist.run_layout import MODEL

REQUIRED_KEYS = {"ratings", "users", "rmse", "mae", "ranking"}  # by which a file of figures is recognised
TITLES = {
    "rmse": "RMSE",
    "mae": "MAE",
    "rmse_by_user": "RMSE by user",
    "mae_by_user": "MAE by user",
    "ndcg": "NDCG",
    "map": "MAP",
    "mrr": "MRR",
    "gini": "Gini",
}
# Left out if they are null: the size of the sample if all users were judged, the lowest relevant rating if
# every item is relevant, and errors of a model of events. Of other figures, null is an average over no user.
LEFT_OUT = ("relevant", "rmse", "mae", "rmse_by_user", "mae_by_user", "sample")
MAX_FIXED_POINT = 1e15  # larger figures are shown with an exponent


@dataclass(frozen=True)
class SavedEvaluation:
    """Hold the figures of one file.

    Attributes:
        name: of the file.
        figures: each as text, by its title.
        outdated: whether the file is older than the run's model, and may be about a run that was replaced.
    """

    name: str
    figures: dict[str, str]
    outdated: bool


def read_evaluations(directory: Path) -> list[SavedEvaluation]:
    """Read every .json file of a run directory that has the keys of an evaluation; others are skipped.

    Raises:
        RunError: a value in such a file has another type than `evaluate` writes.
    """
    model = directory / MODEL
    found = []
    for file in sorted(directory.glob("*.json")):
        try:
            content = read_json(file)
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and content.keys() >= REQUIRED_KEYS:
            found.append(SavedEvaluation(file.name, _figures(file, content), _is_older(file, model)))
    return found


def _is_older(file: Path, than: Path) -> bool:
    try:
        return file.stat().st_mtime < than.stat().st_mtime
    except OSError:  # there is no model, or one of the two was just removed
        return False


def _figures(file: Path, content: dict[str, object]) -> dict[str, str]:
    """Return the figures as text by title: those over all ratings, then those of the ranking."""
    ranking = dict(content["ranking"]) if isinstance(content["ranking"], dict) else {}
    figures = {name: value for name, value in content.items() if name != "ranking"}
    intervals = {**_intervals(file, figures), **_intervals(file, ranking)}
    figures |= {f"ranked {name}" if name in figures else name: value for name, value in ranking.items()}
    for name, value in figures.items():
        allowed = int | float | None if name in REQUIRED_KEYS else int | float | str | None
        if not isinstance(value, allowed) or len(name) > LONGEST or len(str(value)) > LONGEST:
            wrong = f"{shortened(name, quoted=False)} cannot be {shortened(value)}"
            raise RunError(f"{file}: {wrong}; it is damaged: evaluate again, or remove it")
    return {
        TITLES.get(name, name.replace("_", " ")): _format_figure(value) + intervals.get(name, "")
        for name, value in figures.items()
        if value is not None or name not in LEFT_OUT
    }


def _intervals(file: Path, figures: dict[str, object]) -> dict[str, str]:
    """Take the intervals out of the figures, and return each as text to stand behind its figure."""
    found = figures.pop("intervals", None)
    if found is None:  # a file of an earlier version
        return {}
    if not isinstance(found, dict) or not all(map(_is_interval, found.values())):
        raise RunError(
            f"{file}: intervals cannot be {shortened(found)}; it is damaged: evaluate again, or remove it"
        )
    return {
        name: f" ({_format_figure(low)} to {_format_figure(high)})" for name, (low, high) in found.items()
    }


def _is_interval(limits: object) -> bool:
    return (
        isinstance(limits, list) and len(limits) == 2 and all(type(limit) in (int, float) for limit in limits)
    )


def _format_figure(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < MAX_FIXED_POINT else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
