"""Define the keys of a config: sections, types, defaults, and which keys go together.

The section `data` is in data_section.py.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from cofi_dist.config.data_section import DataSection
from cofi_dist.config.section import (
    FileName,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    RowCount,
    Section,
    Seed,
)
from cofi_dist.config.strict_yaml import to_yaml

LARGEST_FINITE = {"float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}

# The number of blocks of users of an invariant run, if it is not set. No run has more ranks than blocks.
DEFAULT_BLOCKS = 8

# The defaults of ALS where they differ: tens of sweeps do what thousands of Adam's steps do. docs/maths.md
# says what more sweeps would change.
ALS_DEFAULTS = {"epochs": 100, "tolerance": 1e-5, "log_every": 10}


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


class TrainSection(Section):
    """Choose the cost and how it is minimised. The defaults are the notebook's, but for the sparse cost."""

    epochs: PositiveInt = 15_000
    """Steps of Adam, or sweeps of ALS."""

    lr: PositiveFloat = 1e-4
    """Learning rate of Adam."""

    lambda_: NonNegativeFloat = 1.0
    """Regularisation of the features."""

    lambda_power: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.0
    """p: each row's lambda_ is multiplied by n to the power p, where n is the row's number of ratings plus
    unknown_weight times the number of rows of the other side."""

    lambda_b: NonNegativeFloat = 0.0
    """Regularisation of the biases."""

    alpha: NonNegativeFloat | None = None
    """An event of strength r has the weight 1 + alpha r. Only with `data.feedback: implicit`, where the
    default is 1."""

    unknown_weight: NonNegativeFloat = 0.0
    """Weight of each pair of user and item that is not in the data; its score is drawn to 0. With
    `data.feedback: implicit`, the default is 1."""

    optimizer: Literal["adam", "als"] = "adam"
    """`als`, alternating least squares, minimises the same J in far fewer epochs."""

    solver: Literal["cg", "exact"] = "cg"
    """How ALS solves: by conjugate gradients, or exactly by Cholesky, which is slower (docs/benchmarks.md).
    Only with `optimizer: als`."""

    cg_steps: PositiveInt = 3
    """Steps of conjugate gradients per half-sweep. Only with `optimizer: als` and `solver: cg`."""

    tolerance: PositiveFloat | None = None
    """End when a sweep lowers J by less than this, relative to J. Only with `optimizer: als`; not set if
    `epochs` is set and this is not."""

    cost: Literal["sparse", "dense"] = "sparse"
    """`sparse` computes on the known ratings only; `dense` runs the notebook's operations on the whole
    matrix. `dense` goes with neither `optimizer: als` nor `reduction: invariant`."""

    dtype: Literal["float32", "float64"] = "float32"
    """Type of the factors."""

    reduction: Literal["fast", "invariant"] = "fast"
    """`invariant` gives the same bits on any number of ranks. Only on the CPU, with `cost: sparse`, and not
    with `solver: exact`."""

    blocks: PositiveInt | None = None
    """Blocks of users whose sums are added in a fixed order: a power of two, at least the number of ranks.
    Only with `reduction: invariant`."""

    log_every: PositiveInt = 100
    """Epochs from one printed line to the next."""

    tensorboard: bool = False
    """Also write scalars for TensorBoard (extra `tensorboard`)."""

    deadline: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Seconds from the start after which the run saves its state and leaves; below 0, seconds before its
    SLURM job ends. Not 0."""

    timeout: Annotated[float, Field(gt=0, le=1e9)] = 600.0
    """Seconds that ranks wait for each other in an epoch."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_blocks(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if given.get("reduction") == "invariant":
            return {**given, "blocks": given.get("blocks") or DEFAULT_BLOCKS}
        if given.get("blocks") is not None:
            raise ValueError("blocks belong to reduction: invariant; leave them out, or set that")
        return given

    @model_validator(mode="before")
    @classmethod
    def _fill_in_als_defaults(cls, given: Any) -> Any:
        """Fill in the defaults of ALS. If a number of epochs is given, all are run: there is no tolerance."""
        if not isinstance(given, dict) or given.get("optimizer") != "als":
            return given
        known = {key: value for key, value in given.items() if value is not None}
        filled = {**ALS_DEFAULTS, **known}
        if "epochs" in known and "tolerance" not in known:
            del filled["tolerance"]
        return filled

    @model_validator(mode="after")
    def _require_finite_steps(self) -> "TrainSection":
        # the dense cost is minimised by torch's Adam, which refuses a step that is too large, and whose first
        # one is ten times lr
        ones = ((key, 1) for key in ("lambda_", "lambda_b", "alpha", "unknown_weight"))
        for key, times in (("lr", 10 if self.cost == "dense" else 1), *ones):
            given, largest = getattr(self, key), LARGEST_FINITE[self.dtype] / times
            if given is not None and given > largest:
                raise ValueError(f"{key}: {given:g} is too large for {self.dtype}; set {largest:.2g} at most")
        return self

    @model_validator(mode="after")
    def _require_an_order(self) -> "TrainSection":
        if self.blocks is not None and self.blocks & (self.blocks - 1):
            raise ValueError(f"blocks: {self.blocks} is not a power of two")
        if self.reduction == "invariant" and self.cost == "dense":
            raise ValueError("reduction: invariant is for the sparse cost; leave cost: dense out")
        if self.reduction == "invariant" and self.solver == "exact":
            raise ValueError("reduction: invariant is for solver: cg; leave exact out")
        return self

    @model_validator(mode="after")
    def _require_keys_of_the_optimizer(self) -> "TrainSection":
        if self.optimizer == "als" and self.cost == "dense":
            raise ValueError("optimizer: als works on the known cells; leave cost: dense out")
        if self.optimizer == "adam" and self.solver == "exact":
            raise ValueError("solver: adam solves nothing; leave it out, or take als")
        steps = type(self).model_fields["cg_steps"].default
        if self.cg_steps != steps and (self.optimizer, self.solver) != ("als", "cg"):
            raise ValueError("cg_steps: belongs to als with solver: cg; leave it out")
        if self.optimizer == "adam" and self.tolerance is not None:
            raise ValueError("tolerance: adam does not look at J after each step; leave it out, or take als")
        return self

    @field_validator("deadline")
    @classmethod
    def _require_some_time(cls, given: float | None) -> float | None:
        if given == 0:
            raise ValueError(
                "0 is not a deadline; give seconds from the start, or -SECONDS before a SLURM job ends"
            )
        return given


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
    so many that lists are ranked for a billion pairs. Not with `rmse` and `mae`."""

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
