"""What `evaluate --output` left in a run directory."""

import json
from dataclasses import dataclass
from pathlib import Path

from cofi_dist.rundir import MODEL

OURS = {"ratings", "users", "rmse", "mae", "ranking"}  # what every evaluation says
TITLES = {"rmse": "RMSE", "mae": "MAE", "rmse_by_user": "RMSE by user", "mae_by_user": "MAE by user"}
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
    """Every .json of a run directory that says what an evaluation says; others are not ours."""
    model = directory / MODEL
    found = []
    for file in sorted(directory.glob("*.json")):
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(said, dict) and said.keys() >= OURS:
            outdated = model.exists() and file.stat().st_mtime < model.stat().st_mtime
            found.append(Evaluated(file.name, _figures(said), outdated))
    return found


def _figures(said: dict[str, object]) -> dict[str, str]:
    ranking = said["ranking"] if isinstance(said["ranking"], dict) else {}
    plain = {name: value for name, value in said.items() if name != "ranking"}
    ranked = {f"ranked {name}" if name in plain else name: value for name, value in ranking.items()}
    return {
        TITLES.get(name, name.replace("_", " ")): _shown(value)
        for name, value in (plain | ranked).items()
        if value is not None or name != "relevant"
    }


def _shown(value: object) -> str:
    if value is None:  # over no user
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
