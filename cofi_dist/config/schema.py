"""Define the keys of a config: sections, types, defaults, and which keys go together.

The section `data` is in data_section.py, and `train` in train_section.py.
"""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from cofi_dist.config.data_section import DataSection
from cofi_dist.config.section import FileName, PositiveInt, RowCount, Section, Seed
from cofi_dist.config.strict_yaml import to_yaml
from cofi_dist.config.train_section import TrainSection

# The defaults that are others if the data are events.
IMPLICIT_DEFAULTS: dict[str, dict[str, Any]] = {
    "model": {"user_bias": False},
    "train": {"alpha": 1.0, "unknown_weight": 1.0},
    "validation": {"metric": "ndcg"},
}

# The length of the lists that validation judges, if it is not set.
DEFAULT_K = 10


class ModelSection(Section):
    """Choose the shape of the model."""

    num_features: RowCount = 100
    """K, the number of features of every user and item."""

    item_bias: bool = False
    """Also learn a bias per item."""

    user_bias: bool = True
    """Learn a bias per user, as the notebook does. With `data.feedback: implicit`, the default is false."""


class CheckpointSection(Section):
    """Say when the state of the run is saved, and whether the run goes on from a saved one."""

    every: PositiveInt | None = None
    """Epochs from one checkpoint to the next. If not set, a checkpoint is saved only when the run is asked
    to stop."""

    keep: PositiveInt = 2
    """How many of the newest checkpoints stay."""

    resume: FileName = "none"
    """`none`, or `auto`: resume the run in run_dir, or start it; or the directory of a run or a checkpoint,
    from which a new run starts."""

    max_failures: PositiveInt = 3
    """The run ends after this many failed saves in a row."""

    allow_changes: bool = False
    """Resume although lambda_, the ratings or other keys that decide the result have changed."""

    @property
    def start_from(self) -> Path | None:
        """Return the checkpoint, or the run, from which a new run starts; None if there is none."""
        return None if self.resume in ("none", "auto") else Path(self.resume)


Metric = Literal["rmse", "mae", "ndcg", "recall", "precision", "map", "hit_rate"]


class ValidationSection(Section):
    """Say when the factors are judged by the validation ratings, by what, and when that ends the training."""

    every: PositiveInt | None = None
    """Epochs from one validation to the next. Needs `data.validation`, or prepared ratings that have one."""

    patience: PositiveInt | None = None
    """Stop after this many validations without a better figure. Needs `validation.every`."""

    metric: Metric = "rmse"
    """The figure by which the best epoch, and the best point of a grid, are chosen. With
    `data.feedback: implicit`, the default is `ndcg`."""

    k: PositiveInt | None = None
    """Length of the lists that `metric` judges; 10 if it is not set. Not with `rmse` and `mae`."""

    users: PositiveInt | None = None
    """Judge the lists of about this many users, always the same ones. If not set, all users are taken, or
    as many as have 2^28 pairs with items (seconds of work). Not with `rmse` and `mae`."""

    @model_validator(mode="after")
    def _require_every(self) -> "ValidationSection":
        if self.patience is not None and self.every is None:
            raise ValueError("patience counts validations; set validation.every too")
        for key in ("k", "users"):
            if not self.ranks and getattr(self, key) is not None:
                raise ValueError(f"{key}: belongs to metrics of lists; leave it out, or set metric: ndcg")
        return self

    @property
    def ranks(self) -> bool:
        """Tell whether lists are judged, and not predicted ratings."""
        return self.metric not in ("rmse", "mae")

    @property
    def list_length(self) -> int:
        """Return the length of the lists that are judged."""
        return self.k or DEFAULT_K


class Config(Section):
    """Hold everything that a run depends on."""

    seed: Seed = 1
    """Seed of the initial factors."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """`auto` takes cuda if there is one, else mps, else the CPU."""

    run_dir: FileName
    """Directory of the run."""

    data: DataSection
    model: ModelSection = ModelSection()
    train: TrainSection = TrainSection()
    validation: ValidationSection = ValidationSection()
    checkpoint: CheckpointSection = CheckpointSection()

    @model_validator(mode="before")
    @classmethod
    def _fill_in_implicit_defaults(cls, given: Any) -> Any:
        data = given.get("data") if isinstance(given, dict) else None
        if not isinstance(data, dict) or data.get("feedback") != "implicit":
            return given
        filled = dict(given)
        for name, defaults in IMPLICIT_DEFAULTS.items():
            section = given.get(name, {})
            if isinstance(section, dict):
                filled[name] = {**defaults, **{k: v for k, v in section.items() if v is not None}}
        return filled

    @model_validator(mode="after")
    def _require_keys_of_the_feedback(self) -> "Config":
        is_implicit = self.data.feedback == "implicit"
        if not is_implicit and self.train.alpha is not None:
            raise ValueError("train.alpha: belongs to data.feedback: implicit; leave it out, or set that")
        if is_implicit and not self.validation.ranks:
            raise ValueError(
                f"validation.metric: events have no rating to predict, so no {self.validation.metric};"
                " take ndcg, recall, precision, map or hit_rate"
            )
        return self

    @model_validator(mode="after")
    def _require_one_start(self) -> "Config":
        if self.train.start is not None and self.checkpoint.start_from is not None:
            raise ValueError(
                "train.start: a run starts from a model or a checkpoint; leave it or checkpoint.resume out"
            )
        return self

    @model_validator(mode="after")
    def _require_validation_ratings(self) -> "Config":
        if self.validation.every is not None and self.data.validation is None and not self.data.prepared:
            raise ValueError("validation.every: no ratings are held out; set data.validation, such as {}")
        return self

    def with_absolute_paths(self) -> "Config":
        """Return this config with absolute paths, so that its data is found from any working directory."""
        data = self.data.with_paths(lambda path: str(Path(path).absolute()))
        return self.model_copy(update={"run_dir": str(Path(self.run_dir).absolute()), "data": data})

    def moved_to(self, run_dir: Path) -> "Config":
        """Return this config, of absolute paths, for a run that was moved together with its data.

        Args:
            run_dir: where the run is now; its data lies in the same place beside it as before.
        """
        was, now = self.run_dir, run_dir.absolute()
        if not os.path.isabs(was):  # a model of an earlier build
            return self
        data = self.data.with_paths(lambda path: os.path.normpath(now / os.path.relpath(path, was)))
        return self.model_copy(update={"data": data})

    def to_yaml(self) -> str:
        """Return the resolved config; `load_config` of this text gives an equal config."""
        return to_yaml(self.model_dump(exclude_none=True))
