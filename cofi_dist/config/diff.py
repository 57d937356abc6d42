"""What differs between the config of a run and the one that it is to go on with."""

from typing import Any

from cofi_dist.config.schema import Config

# Keys whose change makes it another problem, or other numbers; of the ratings, the fingerprint decides.
FIXED = (
    *("data.centre", "data.damping", "data.test", "data.validation", "data.duplicates", "model"),
    *("data.min_user_ratings", "data.min_item_ratings", "data.columns"),
    *("train.lambda_", "train.lambda_power", "train.lambda_b", "train.dtype", "train.optimizer"),
)
# Keys that are settled when a ratings file is prepared.
PREPARED = (
    *("data.ratings", "data.name", "data.columns", "data.duplicates"),
    *("data.min_user_ratings", "data.min_item_ratings", "data.test", "data.validation"),
)
# Keys that say where things are, or how long to go on: not worth a line.
FREE = (
    *("run_dir", "device", "checkpoint"),
    *("train.epochs", "train.log_every", "train.tensorboard", "train.deadline", "train.timeout"),
)


def changes(was: dict[str, Any], now: Config) -> list[tuple[str, Any, Any]]:
    """Every key that differs, what it was and what it is."""
    old, new = _flat(was), _flat(now.model_dump(exclude_none=True))
    pairs = [
        (key, old.get(key, "not set"), new.get(key, "not set")) for key in sorted(old.keys() | new.keys())
    ]
    return [(key, before, after) for key, before, after in pairs if before != after]


def is_within(key: str, sections: tuple[str, ...]) -> bool:
    """Whether a dotted key is one of these, or below one."""
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found
