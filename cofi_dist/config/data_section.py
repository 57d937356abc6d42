"""Define the section `data` of a config: where the ratings come from, and what is done to them."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cofi_dist.config.section import FileName, FileNames, PositiveFloat, PositiveInt, RowCount, Section, Seed
from cofi_dist.files.paths import DATA_SETS, is_url

# What the data are: ratings, or events such as clicks.
Feedback = Literal["explicit", "implicit"]

# What is done if a pair of user and item is in the data twice.
DuplicateRule = Literal["error", "last", "mean", "sum"]


class ColumnNames(Section):
    """Name the columns of a ratings file that has a header."""

    user: str = "userId"
    """Column of user ids."""

    item: str = "movieId"
    """Column of item ids."""

    rating: str = "rating"
    """Column of ratings; with `feedback: implicit`, of the strengths of the events. There, a file without a
    column `rating` has events of strength 1."""

    weight: str | None = None
    """Column of weights: in the cost and in the means, a rating of weight 2 counts twice. It counts once in
    the n of `train.lambda_power`, and in RMSE and MAE. Only with `feedback: explicit`, and not for .dat and
    .data files."""

    timestamp: str = "timestamp"
    """Column of times, which are read only if a split needs them."""


class SyntheticSection(Section):
    """Describe made-up ratings or events with a planted taste. The defaults are those of ml-latest-small."""

    num_users: RowCount = 610
    """Number of users."""

    num_items: RowCount = 9724
    """Number of items."""

    num_ratings: PositiveInt = 100_836
    """Number of ratings, or of pairs of a user and an item that have events."""

    seed: Seed = 0
    """Seed of the ratings or events."""


# The keys that each kind of split takes, and their defaults.
SPLIT_DEFAULTS: dict[str, dict[str, Any]] = {
    "random": {"fraction": 0.2, "seed": 0},
    "time": {"fraction": 0.2},
    "last": {"n": 1},
    "leave_one_out": {"seed": 0},
    "file": {},
}


class SplitSection(Section):
    """Say which ratings are held out: the same ones on any number of ranks."""

    by: Literal["random", "time", "last", "leave_one_out", "file"] = "random"
    """`random`: each rating with probability `fraction`. `time`: the newest `fraction` of all ratings.
    `last`: each user's newest `n`. `leave_one_out`: one rating of each user, at random. These two never
    take a user's only rating. `file`: those of files of their own, as `file` alone says too."""

    file: FileNames | None = None
    """Files of held-out ratings, named as those of `data.ratings`. Only with `by: file`, which it implies."""

    fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """How many of the ratings are held out. Only with `by: random` and `by: time`."""

    n: PositiveInt | None = None
    """How many ratings per user are held out. Only with `by: last`."""

    seed: Seed | None = None
    """Seed of the choice. Only with `by: random` and `by: leave_one_out`."""

    @property
    def needs_times(self) -> bool:
        """Tell whether ratings are chosen by their times."""
        return self.by in ("time", "last")

    @model_validator(mode="before")
    @classmethod
    def _fill_in_its_defaults(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        by = given.get("by", "random" if given.get("file") is None else "file")
        if by not in SPLIT_DEFAULTS:
            return given
        for key in ("fraction", "n", "seed"):
            if given.get(key) is not None and key not in SPLIT_DEFAULTS[by]:
                raise ValueError(f"{key} means nothing to a split by {by}; leave it out")
        if (by == "file") != (given.get("file") is not None):
            needs = "needs the name of one, in file" if by == "file" else "has no file; leave file out"
            raise ValueError(f"a split by {by} {needs}")
        return {**SPLIT_DEFAULTS[by], **given, "by": by}


# The keys of which one says where the ratings come from; `r` comes with `y`.
SOURCES = ("ratings", "name", "prepared", "y", "r", "synthetic", "table")


class DataSection(Section):
    """Choose the ratings.

    Exactly one of `ratings`, `name`, `prepared`, `y` with `r`, `synthetic` and `table` says where they come
    from.
    """

    ratings: FileNames | None = None
    """Ratings files (docs/data.md): a path, a folder, a pattern, the URL of Parquet files in an object store,
    or a list of these."""

    name: str | None = None
    """A known data set, as `cofi-dist data list` prints it."""

    root: FileName = DATA_SETS
    """Folder in which the known data sets are. Only matters with `name`."""

    prepared: FileName | None = None
    """A directory that `cofi-dist prepare` made. The keys from `columns` to `validation` were settled
    then and must be left out."""

    y: FileName | None = None
    """The notebook's array of ratings (.npy, items x users), taken as it is. Needs `r`."""

    r: FileName | None = None
    """The notebook's array that says which cells of `y` are known (.npy, items x users). Needs `y`."""

    synthetic: SyntheticSection | None = None
    """Made-up ratings, or events."""

    table: str | None = None
    """The kind of table that `cofi_dist.fit` was given (docs/api.md), which sets this key itself."""

    feedback: Feedback = "explicit"
    """`explicit`: ratings, which are predicted. `implicit`: events such as clicks or purchases, from which
    lists are learnt (docs/choosing.md). For `prepared` ratings, what they were prepared as."""

    columns: ColumnNames = ColumnNames()
    duplicates: DuplicateRule = "error"
    """What is done if a pair of user and item is in the file twice: refuse the file, keep the `last` rating
    in the file, or keep the `mean`. With `feedback: implicit`, the default is the `sum` of the strengths.
    Only with `ratings` and `name`."""

    min_user_ratings: PositiveInt = 1
    """Users with fewer ratings are dropped, until all that are left have enough. Only with `ratings` and
    `name`."""

    min_item_ratings: PositiveInt = 1
    """Items with fewer ratings are dropped, until all that are left have enough. Only with `ratings` and
    `name`."""

    test: SplitSection | None = None
    """Ratings held out for `cofi-dist evaluate`; they are taken first. Splits by time and those of files need
    `ratings` or `name`."""

    validation: SplitSection | None = None
    """Ratings held out of those that remain, to be predicted during training."""

    centre: Literal["item_mean", "damped_item_mean", "global_mean", "none"] | None = None
    """What is subtracted from the ratings before training; means are those of the training ratings. `y` and
    events are taken as they are. Ratings that were `prepared` are centred as they were then, unless this is
    set."""

    damping: PositiveFloat | None = None
    """Damping strength: the number of imaginary average ratings that are added to each item's. Only with
    `centre: damped_item_mean`."""

    @property
    def is_prepared_by_run(self) -> bool:
        """Tell whether the ratings, of a file or a table, are to be prepared in the run directory."""
        return any(source is not None for source in (self.ratings, self.name, self.table))

    def with_paths(self, change: Callable[[str], str]) -> "DataSection":
        """Return this section with every path changed."""

        def changed(given: str | list[str]) -> str | list[str]:
            if isinstance(given, list):
                return [str(changed(each)) for each in given]
            return given if is_url(given) else change(given)

        paths = {key: getattr(self, key) for key in ("ratings", "root", "prepared", "y", "r")}
        update: dict[str, Any] = {key: changed(path) for key, path in paths.items() if path is not None}
        for key, split in (("test", self.test), ("validation", self.validation)):
            if split is not None and split.file is not None:
                update[key] = split.model_copy(update={"file": changed(split.file)})
        return self.model_copy(update=update)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_centring(cls, given: Any) -> Any:
        """Fill in the centring: none for arrays, as prepared for prepared ratings, else by item."""
        if not isinstance(given, dict):
            return given
        centre = given.get("centre")
        if given.get("feedback") == "implicit":
            if centre not in (None, "none"):
                raise ValueError("feedback: implicit has no ratings to centre; leave centre out")
            centre = "none"
        elif given.get("y") or given.get("r"):
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

    @model_validator(mode="before")
    @classmethod
    def _fill_in_duplicates(cls, given: Any) -> Any:
        """Fill in that events of a file add up."""
        is_of_events = isinstance(given, dict) and given.get("feedback") == "implicit"
        if (
            is_of_events
            and given.get("duplicates") is None
            and any(map(given.get, ("ratings", "name", "table")))
        ):
            return {**given, "duplicates": "sum"}
        return given

    @model_validator(mode="after")
    def _require_keys_of_the_feedback(self) -> "DataSection":
        if self.feedback == "explicit" and self.duplicates == "sum":
            raise ValueError("duplicates: sum adds up events; take mean or last, or set feedback: implicit")
        if self.feedback == "implicit" and self.columns.weight is not None:
            raise ValueError(
                "columns.weight: the weight of an event is 1 + train.alpha times its strength, in"
                " columns.rating; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _require_one_source(self) -> "DataSection":
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
    def _require_keys_of_the_source(self) -> "DataSection":
        file_keys = ("columns", "duplicates", "min_user_ratings", "min_item_ratings")
        settled: tuple[str, ...] = () if self.is_prepared_by_run else file_keys
        if self.prepared is not None:
            settled = (*file_keys, "test", "validation")
        for key in settled:
            if getattr(self, key) != type(self).model_fields[key].default:
                why = "were settled when they were prepared" if self.prepared else "are for ratings files"
                raise ValueError(f"{key}: such settings {why}; leave it out")
        for key in ("test", "validation"):
            split = getattr(self, key)
            if split is None or self.is_prepared_by_run:
                continue
            if split.needs_times:
                raise ValueError(f"{key}: these ratings have no times to split by; use by: random")
            if split.by == "file":
                raise ValueError(f"{key}: a file goes with ratings of files or tables; use by: random")
        return self
