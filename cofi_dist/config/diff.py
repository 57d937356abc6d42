"""Find what differs between the config of a run and the one that it is to be resumed with."""

import os
from typing import Any

from cofi_dist.config.schema import Config
from cofi_dist.files.paths import is_url

# Keys whose change makes it another problem, or gives other numbers. Whether the ratings are the same is
# decided by their fingerprint.
FIXED = (
    "data.feedback",
    "data.centre",
    "data.damping",
    "data.test",
    "data.validation",
    "data.duplicates",
    "data.min_user_ratings",
    "data.min_item_ratings",
    "data.columns",
    "model",
    "train.lambda_",
    "train.lambda_power",
    "train.lambda_b",
    "train.alpha",
    "train.unknown_weight",
    "train.dtype",
    "train.optimizer",
    "train.average",
    "train.noise",
)
# Keys that name files: the same ones under another name are no change.
FILES = ("data.ratings", "data.test.file", "data.validation.file")
# Keys that are settled when a ratings file is prepared.
PREPARED = (
    "data.ratings",
    "data.name",
    "data.table",
    "data.feedback",
    "data.columns",
    "data.duplicates",
    "data.min_user_ratings",
    "data.min_item_ratings",
    "data.test",
    "data.validation",
)
# Keys that configs of earlier versions lack, and what such a config means.
ADDED = {
    "data.feedback": "explicit",
    "model.user_bias": True,
    "train.init": "notebook",
    "train.items": "replicated",
    "train.unknown_weight": 0.0,
    "validation.metric": "rmse",
}
# Keys that only configs of earlier versions have, and that decide nothing.
REMOVED = ("train.tensorboard",)
# Keys that say where things are, or how long to go on: their change is not worth a line.
FREE = (
    "run_dir",
    "device",
    "train.backend",
    "train.item_block",
    "checkpoint",
    "train.epochs",
    "train.log_every",
    "train.loggers",
    "train.deadline",
    "train.timeout",
)


def changes(was: dict[str, Any], now: Config) -> list[tuple[str, Any, Any]]:
    """Return every key that differs, its old value and its new value, sorted by key.

    Args:
        was: the values of the run's config, by section and key.
        now: the config to go on with.
    """
    old, new = {**ADDED, **flat(was)}, flat(now.model_dump(exclude_none=True))
    found = []
    for key in sorted((old.keys() | new.keys()).difference(REMOVED)):
        before, after = old.get(key, "not set"), new.get(key, "not set")
        if before != after and not (key in FILES and _are_same_files(before, after)):
            found.append((key, before, after))
    return found


def _are_same_files(one: Any, other: Any) -> bool:
    """Return whether two values of a key name the same files in the same order."""
    names, others = ([each] if isinstance(each, str) else each for each in (one, other))
    return len(names) == len(others) and all(map(_is_same_file, names, others))


def _is_same_file(one: str, other: str) -> bool:
    if is_url(one) or is_url(other):
        return one == other
    return os.path.abspath(one) == os.path.abspath(other) or os.path.realpath(one) == os.path.realpath(other)


def is_within(key: str, sections: tuple[str, ...]) -> bool:
    """Return whether a dotted key is one of these, or below one of them."""
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found
