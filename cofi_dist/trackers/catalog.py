"""Name the trackers that a config may ask for, and the packages that they need."""

import importlib.util
from collections.abc import Iterable

from cofi_dist.errors import ConfigError

PACKAGES = {
    "tensorboard": {"tensorboard": "TensorBoard"},
    "mlflow": {"mlflow": "MLflow", "sqlalchemy": "SQLAlchemy", "alembic": "Alembic"},
    "wandb": {"wandb": "Weights & Biases"},
}


def require_installed(trackers: Iterable[str]) -> None:
    """Raise ConfigError if a tracker's package is missing."""
    for name in trackers:
        missing = [title for package, title in PACKAGES[name].items() if not _is_installed(package)]
        if missing:
            raise ConfigError(
                f"train.loggers: {name} needs {' and '.join(missing)}: pip install 'cofi-dist[{name}]', or"
                " leave it out"
            )


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
