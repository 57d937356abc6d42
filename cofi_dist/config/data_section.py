"""The section `data`: where the ratings come from, and what is done to them."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cofi_dist.config.section import FileName, PositiveFloat, PositiveInt, Rows, Section


class Columns(Section):
    """Names of the columns of a ratings file with a header; times are read only where a split needs them."""

    user: str = "userId"
    item: str = "movieId"
    rating: str = "rating"
    timestamp: str = "timestamp"


class Synthetic(Section):
    """Shape and seed of made-up ratings; the defaults are ml-latest-small's shape."""

    num_users: Rows = 610
    num_items: Rows = 9724
    num_ratings: PositiveInt = 100_836
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


# What each way of splitting is given, and what it takes where nothing is said.
SPLIT_KEYS: dict[str, dict[str, Any]] = {
    "random": {"fraction": 0.2, "seed": 0},
    "time": {"fraction": 0.2},
    "last": {"n": 1},
    "leave_one_out": {"seed": 0},
}


class Split(Section):
    """Which ratings are held out.

    random: each with probability `fraction`. time: the newest `fraction` of all. last: each user's
    newest `n`. leave_one_out: one of each user's, at random.
    """

    by: Literal["random", "time", "last", "leave_one_out"] = "random"
    fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    n: PositiveInt | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None

    @property
    def needs_times(self) -> bool:
        return self.by in ("time", "last")

    @model_validator(mode="before")
    @classmethod
    def _keys_of_its_kind(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("by", "random") not in SPLIT_KEYS:
            return given
        by = given.get("by", "random")
        for key in ("fraction", "n", "seed"):
            if given.get(key) is not None and key not in SPLIT_KEYS[by]:
                raise ValueError(f"{key} means nothing to a split by {by}; leave it out")
        return {**SPLIT_KEYS[by], **given}


# The keys of data of which one says where the ratings come from; r comes with y.
SOURCES = ("ratings", "name", "prepared", "y", "r", "synthetic")


class Data(Section):
    """Exactly one of `ratings`, `name`, `prepared`, `y` with `r`, and `synthetic`."""

    ratings: FileName | None = None
    name: str | None = None
    root: FileName = "data"
    prepared: FileName | None = None
    y: FileName | None = None
    r: FileName | None = None
    synthetic: Synthetic | None = None
    columns: Columns = Columns()
    duplicates: Literal["error", "last", "mean"] = "error"
    min_user_ratings: PositiveInt = 1
    min_item_ratings: PositiveInt = 1
    test: Split | None = None
    validation: Split | None = None
    centre: Literal["item_mean", "damped_item_mean", "global_mean", "none"] | None = None
    damping: PositiveFloat | None = None

    @property
    def is_file(self) -> bool:
        """Whether a ratings file is to be prepared."""
        return self.ratings is not None or self.name is not None

    def with_paths(self, change: Callable[[str], str]) -> "Data":
        """The same with other paths."""
        paths = {key: getattr(self, key) for key in ("ratings", "root", "prepared", "y", "r")}
        return self.model_copy(update={key: change(path) for key, path in paths.items() if path is not None})

    @model_validator(mode="before")
    @classmethod
    def _centring_of_its_kind(cls, given: Any) -> Any:
        """Arrays are centred already, prepared ratings as they were prepared, others by item."""
        if not isinstance(given, dict):
            return given
        centre = given.get("centre")
        if given.get("y") or given.get("r"):
            if centre not in (None, "none"):
                raise ValueError("the arrays y and r are taken as they are; leave centre out")
            centre = "none"
        elif not given.get("prepared"):
            centre = centre or "item_mean"
        if given.get("damping") is not None and centre != "damped_item_mean":
            raise ValueError("damping belongs to centre: damped_item_mean; leave it out, or set that")
        filled = {**given, "centre": centre}
        if centre == "damped_item_mean":
            filled["damping"] = given.get("damping", 5.0)
        return filled

    @model_validator(mode="after")
    def _exactly_one(self) -> "Data":
        if (self.y is None) != (self.r is None):
            missing = "r" if self.r is None else "y"
            raise ValueError(f"the arrays come as a pair; set data.{missing} too")
        sources = [k for k in SOURCES if k != "r" and getattr(self, k) is not None]
        if len(sources) != 1:
            found = " and ".join(sources) or "none of them"
            raise ValueError(
                f"set exactly one of ratings, name, prepared, y with r, synthetic; found {found}"
            )
        return self

    @model_validator(mode="after")
    def _keys_of_its_source(self) -> "Data":
        of_files = ("columns", "duplicates", "min_user_ratings", "min_item_ratings")
        fixed: tuple[str, ...] = of_files if not self.is_file else ()
        if self.prepared is not None:
            fixed = (*of_files, "test", "validation")
        for key in fixed:
            if getattr(self, key) != type(self).model_fields[key].default:
                why = "were settled when they were prepared" if self.prepared else "are for ratings files"
                raise ValueError(f"{key}: such settings {why}; leave it out")
        for key in ("test", "validation"):
            split = getattr(self, key)
            if split is not None and split.needs_times and not self.is_file:
                raise ValueError(f"{key}: these ratings have no times to split by; use by: random")
        return self
