"""Define the section `train` of a config: the cost, and how it is minimised."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from cofi_dist.config.section import FileName, NonNegativeFloat, PositiveFloat, PositiveInt, Section

# Weights are multiplied by strengths and squared; beyond this, float32 would not hold the result.
PairWeight = Annotated[float, Field(ge=0, le=1e15)]

LARGEST_FINITE = {"float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}

# The number of blocks of users of an invariant run, if it is not set. No run has more ranks than blocks.
DEFAULT_BLOCKS = 8

# Of ratings from 1 to 5; on other scales, it is another number.
DEFAULT_NOISE = 0.6

# The defaults of ALS where they differ: tens of sweeps do what thousands of Adam's steps do. docs/maths.md
# says what more sweeps would change.
ALS_DEFAULTS = {"epochs": 100, "tolerance": 1e-5, "log_every": 10}


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

    alpha: PairWeight | None = None
    """An event of strength r has the weight 1 + alpha r. Only with `data.feedback: implicit`, where the
    default is 1."""

    unknown_weight: PairWeight = 0.0
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

    average: PositiveInt | None = None
    """Draw factors instead of solving for them, and average the predictions of the last N sweeps, which are
    better on held-out ratings (docs/maths.md). Needs `optimizer: als`, `solver: exact` and more epochs."""

    noise: PositiveFloat | None = None
    """Standard deviation of a rating around its prediction, which says how far draws are spread. Only with
    `average`, where the default is 0.6."""

    cost: Literal["sparse", "dense"] = "sparse"
    """`sparse` computes on the known ratings only; `dense` runs the notebook's operations on the whole
    matrix. `dense` goes with neither `optimizer: als` nor `reduction: invariant`."""

    dtype: Literal["float32", "float64"] = "float32"
    """Type of the factors."""

    reduction: Literal["fast", "invariant"] = "fast"
    """`invariant` gives the same bits on any number of ranks, on the CPU and on one kind of CUDA device. Only
    with `cost: sparse`, and not with `solver: exact`."""

    blocks: PositiveInt | None = None
    """Blocks of users whose sums are added in a fixed order: a power of two, at least the number of ranks.
    Only with `reduction: invariant`."""

    backend: Literal["auto", "nccl", "gloo"] = "auto"
    """What carries the sums of several ranks on CUDA. `nccl` needs a device for each rank. `gloo` goes over
    the host's memory, and ranks may share a device. `auto` is nccl if each rank has a device, else gloo."""

    items: Literal["replicated", "sharded"] = "replicated"
    """`sharded` gives each rank some of the items, so that X, its gradient and the optimiser's state need not
    fit on one rank. With `cost: sparse`, and not with `solver: exact`."""

    item_block: PositiveInt | None = None
    """Items whose rows of X travel to all ranks at once; chosen by memory if it is not set. Only with
    `items: sharded`."""

    init: Literal["notebook", "counter"] = "notebook"
    """How the first factors are drawn. `counter` draws others from the same distribution, on a rank its own
    rows only: for starts of many millions of rows. docs/maths.md."""

    start: FileName | None = None
    """A run, or the directory of a model, whose factors a new run starts from. Rows are found by their ids,
    so the users and items may be others. Not with `checkpoint.resume: RUN`."""

    log_every: PositiveInt = 100
    """Epochs from one printed line to the next."""

    loggers: list[Literal["tensorboard", "mlflow", "wandb"]] = Field(default_factory=list)
    """A list of trackers that also record the run: docs/trackers.md. Each needs the extra of its name."""

    deadline: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Seconds from the start after which the run saves its state and leaves; below 0, seconds before its
    SLURM job ends. Not 0."""

    timeout: Annotated[float, Field(gt=0, le=1e9)] = 600.0
    """Seconds that ranks wait for each other in an epoch."""

    @model_validator(mode="before")
    @classmethod
    def _take_earlier_keys(cls, given: Any) -> Any:
        """Take `tensorboard`, which runs of earlier versions have, for what has replaced it."""
        if not isinstance(given, dict) or "tensorboard" not in given:
            return given
        rest = {key: value for key, value in given.items() if key != "tensorboard"}
        wanted, loggers = given["tensorboard"], rest.get("loggers")
        if wanted is not None and not isinstance(wanted, bool):
            raise ValueError("tensorboard: is now loggers: [tensorboard]; write that, or leave it out")
        if wanted is None or (isinstance(loggers, list) and wanted == ("tensorboard" in loggers)):
            return rest
        if loggers is not None:
            raise ValueError(
                f"tensorboard: {str(wanted).lower()} is not what loggers says, which has replaced it; leave"
                " tensorboard out"
            )
        return {**rest, "loggers": ["tensorboard"] if wanted else []}

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
        if ("epochs" in known or "average" in known) and "tolerance" not in known:
            del filled["tolerance"]
        if "average" in known:
            filled["noise"] = known.get("noise", DEFAULT_NOISE)
        return filled

    @model_validator(mode="after")
    def _require_finite_steps(self) -> "TrainSection":
        # the dense cost is minimised by torch's Adam, which refuses a step that is too large, and whose first
        # one is ten times lr
        for key, times in (("lr", 10 if self.cost == "dense" else 1), ("lambda_", 1), ("lambda_b", 1)):
            given, largest = getattr(self, key), LARGEST_FINITE[self.dtype] / times
            if given > largest:
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
    def _require_blocks_of_items(self) -> "TrainSection":
        if self.items == "replicated" and self.item_block is not None:
            raise ValueError("item_block: belongs to items: sharded; leave it out, or set that")
        if self.items == "sharded" and self.cost == "dense":
            raise ValueError("items: sharded is for the sparse cost; leave cost: dense out")
        if self.items == "sharded" and self.solver == "exact":
            raise ValueError("items: sharded is for solver: cg; leave exact out")
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

    @field_validator("loggers")
    @classmethod
    def _require_each_once(cls, given: list[str]) -> list[str]:
        if len(set(given)) < len(given):
            raise ValueError("names a tracker twice; keep one of them")
        return given

    @model_validator(mode="after")
    def _require_what_draws(self) -> "TrainSection":
        if self.average is None:
            if self.noise is not None:
                raise ValueError("noise: belongs to average; leave it out, or set that")
            return self
        if (self.optimizer, self.solver) != ("als", "exact"):
            raise ValueError("average: needs optimizer: als and solver: exact; set both, or leave it out")
        if self.tolerance is not None:
            raise ValueError("tolerance: draws do not converge; leave it out, or leave average out")
        if self.average >= self.epochs:
            raise ValueError(
                f"average: {self.average} of {self.epochs} epochs leaves none to get away from the start; set"
                " fewer, or more epochs"
            )
        return self

    @field_validator("start")
    @classmethod
    def _make_absolute(cls, given: str | None) -> str | None:
        try:
            return None if given is None else str(Path(given).absolute())
        except OSError as error:
            raise ValueError(f"{given}: the working directory is gone: {error.strerror}") from None

    @field_validator("deadline")
    @classmethod
    def _require_some_time(cls, given: float | None) -> float | None:
        if given == 0:
            raise ValueError(
                "0 is not a deadline; give seconds from the start, or -SECONDS before a SLURM job ends"
            )
        return given
