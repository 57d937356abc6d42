"""What `evaluate --output` left in a run directory."""

from dataclasses import dataclass
from pathlib import Path

from cofi_dist.errors import RunError
from cofi_dist.files.reading import LONGEST, read_json, shortened
from cofi_dist.run_layout import MODEL

OURS = {"ratings", "users", "rmse", "mae", "ranking"}  # what every evaluation says
TITLES = {"rmse": "RMSE", "mae": "MAE", "rmse_by_user": "RMSE by user", "mae_by_user": "MAE by user"}
TOO_WIDE = 1e15
TITLES |= {"ndcg": "NDCG", "map": "MAP"}


@dataclass(frozen=True)
class Evaluated:
    """One file of figures.

    Attributes:
        name: of the file.
        figures: each by its title.
        outdated: written before the run's model was, so perhaps of a run that this one replaced.
    """

    name: str
    figures: dict[str, str]
    outdated: bool


def evaluations(directory: Path) -> list[Evaluated]:
    """Every .json of a run directory that says what an evaluation says; others are not ours.

    Raises:
        RunError: one says it in other types than `evaluate` does.
    """
    model = directory / MODEL
    found = []
    for file in sorted(directory.glob("*.json")):
        try:
            said = read_json(file)
        except (OSError, ValueError):
            continue
        if isinstance(said, dict) and said.keys() >= OURS:
            found.append(Evaluated(file.name, _figures(file, said), _is_older(file, model)))
    return found


def _is_older(file: Path, than: Path) -> bool:
    try:
        return file.stat().st_mtime < than.stat().st_mtime
    except OSError:  # there is no model, or either has just gone
        return False


def _figures(file: Path, said: dict[str, object]) -> dict[str, str]:
    ranking = said["ranking"] if isinstance(said["ranking"], dict) else {}
    plain = {name: value for name, value in said.items() if name != "ranking"}
    ranked = {f"ranked {name}" if name in plain else name: value for name, value in ranking.items()}
    for name, value in (plain | ranked).items():
        wanted = int | float | None if name in OURS else int | float | str | None
        if not isinstance(value, wanted) or len(name) > LONGEST or len(str(value)) > LONGEST:
            wrong = f"{shortened(name, quoted=False)} cannot be {shortened(value)}"
            raise RunError(f"{file}: {wrong}; it is damaged: evaluate again, or remove it")
    return {
        TITLES.get(name, name.replace("_", " ")): _shown(value)
        for name, value in (plain | ranked).items()
        if value is not None or name != "relevant"
    }


def _shown(value: object) -> str:
    if value is None:  # over no user
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < TOO_WIDE else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
