"""What a config may say: sections, types, defaults, and which keys go together."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from cofi_dist.config.data_section import Data
from cofi_dist.config.section import FileName, PositiveFloat, PositiveInt, Rows, Section


class Model(Section):
    """What is learnt."""

    num_features: Rows = 100
    item_bias: bool = False


LARGEST = {"float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}

# In how many blocks of users an invariant run sums, where nothing is said: the most ranks that it may have.
BLOCKS = 8


# What als takes where nothing is said: tens of sweeps do what thousands of Adam's steps do. docs/maths.md has
# what more of them would change.
OF_ALS = {"epochs": 100, "tolerance": 1e-5, "log_every": 10}


class Train(Section):
    """How it is learnt; the defaults are the notebook's, but for the sparse cost."""

    epochs: PositiveInt = 15_000
    lr: PositiveFloat = 1e-4
    lambda_: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    lambda_power: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.0
    lambda_b: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    optimizer: Literal["adam", "als"] = "adam"
    solver: Literal["cg", "exact"] = "cg"
    cg_steps: PositiveInt = 3
    tolerance: PositiveFloat | None = None
    cost: Literal["sparse", "dense"] = "sparse"
    dtype: Literal["float32", "float64"] = "float32"
    reduction: Literal["fast", "invariant"] = "fast"
    blocks: PositiveInt | None = None
    log_every: PositiveInt = 100
    tensorboard: bool = False
    deadline: Annotated[float, Field(allow_inf_nan=False)] | None = None
    timeout: Annotated[float, Field(gt=0, le=1e9)] = 600.0

    @model_validator(mode="before")
    @classmethod
    def _blocks_of_an_invariant_run(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if given.get("reduction") == "invariant":
            return {**given, "blocks": given.get("blocks") or BLOCKS}
        if given.get("blocks") is not None:
            raise ValueError("blocks belong to reduction: invariant; leave them out, or set that")
        return given

    @model_validator(mode="before")
    @classmethod
    def _als_has_defaults_of_its_own(cls, given: Any) -> Any:
        """A number of epochs that was given is one to be run: it comes without a tolerance."""
        if not isinstance(given, dict) or given.get("optimizer") != "als":
            return given
        known = {key: value for key, value in given.items() if value is not None}
        filled = {**OF_ALS, **known}
        if "epochs" in known and "tolerance" not in known:
            del filled["tolerance"]
        return filled

    @model_validator(mode="after")
    def _fits_its_type(self) -> "Train":
        # torch refuses a step that is too large, and the first one is ten times lr; our loops diverge
        for key, times in (("lr", 10 if self.cost == "dense" else 1), ("lambda_", 1), ("lambda_b", 1)):
            given, most = getattr(self, key), LARGEST[self.dtype] / times
            if given > most:
                raise ValueError(f"{key}: {given:g} is too large for {self.dtype}; set {most:.2g} at most")
        return self

    @model_validator(mode="after")
    def _an_order_can_be_kept(self) -> "Train":
        if self.blocks is not None and self.blocks & (self.blocks - 1):
            raise ValueError(f"blocks: {self.blocks} is not a power of two")
        if self.reduction == "invariant" and self.cost == "dense":
            raise ValueError("reduction: invariant is for the sparse cost; leave cost: dense out")
        if self.reduction == "invariant" and self.solver == "exact":
            raise ValueError("reduction: invariant is for solver: cg; leave exact out")
        return self

    @model_validator(mode="after")
    def _als_knows_its_cost(self) -> "Train":
        if self.optimizer == "als" and self.cost == "dense":
            raise ValueError("optimizer: als works on the known cells; leave cost: dense out")
        if self.optimizer == "adam" and self.solver == "exact":
            raise ValueError("solver: adam solves nothing; leave it out, or take als")
        steps = type(self).model_fields["cg_steps"].default
        if self.cg_steps != steps and (self.optimizer, self.solver) != ("als", "cg"):
            raise ValueError("cg_steps: are those of als with solver: cg; leave them out")
        if self.optimizer == "adam" and self.tolerance is not None:
            raise ValueError("tolerance: adam does not look at J after each step; leave it out, or take als")
        return self

    @field_validator("deadline")
    @classmethod
    def _deadline_is_some_time(cls, given: float | None) -> float | None:
        if given == 0:
            raise ValueError(
                "0 is no deadline; give seconds from the start, or -SECONDS before a SLURM job ends"
            )
        return given


class Checkpoint(Section):
    """When the state of the run is saved, and whether it goes on from a saved one."""

    every: PositiveInt | None = None
    keep: PositiveInt = 2
    resume: FileName = "none"
    max_failures: PositiveInt = 3
    allow_changes: bool = False

    @property
    def named(self) -> Path | None:
        """The checkpoint, or the run, that a new run begins from."""
        return None if self.resume in ("none", "auto") else Path(self.resume)


class Validation(Section):
    """When the held-out ratings are looked at while training, and when that ends it."""

    every: PositiveInt | None = None
    patience: PositiveInt | None = None

    @model_validator(mode="after")
    def _patience_needs_every(self) -> "Validation":
        if self.patience is not None and self.every is None:
            raise ValueError("patience counts validations; set validation.every too")
        return self


class Config(Section):
    """Everything a run depends on."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|mps)$")] = "auto"
    run_dir: FileName
    data: Data
    model: Model = Model()
    train: Train = Train()
    validation: Validation = Validation()
    checkpoint: Checkpoint = Checkpoint()

    @model_validator(mode="after")
    def _validation_needs_ratings(self) -> "Config":
        if self.validation.every is not None and self.data.validation is None and not self.data.prepared:
            raise ValueError("validation.every: no ratings are held out; set data.validation, such as {}")
        return self

    def with_absolute_paths(self) -> "Config":
        """The same, its data found from any working directory."""
        data = self.data.with_paths(lambda path: str(Path(path).absolute()))
        return self.model_copy(update={"run_dir": str(Path(self.run_dir).absolute()), "data": data})

    def moved_to(self, run_dir: Path) -> "Config":
        """The same where the run was moved to, its data in the same place beside it; of absolute paths."""
        was, now = self.run_dir, run_dir.absolute()
        if not os.path.isabs(was):  # a model of an earlier build
            return self
        data = self.data.with_paths(lambda path: os.path.normpath(now / os.path.relpath(path, was)))
        return self.model_copy(update={"data": data})

    def to_yaml(self) -> str:
        """The resolved config; `load_config` of this text gives an equal config."""
        return yaml.safe_dump(self.model_dump(exclude_none=True), sort_keys=False)
