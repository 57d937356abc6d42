"""Make a config of the keyword arguments of `fit`, with the checks and the messages of a YAML file."""

import os
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from cofi_dist.config import Config, resolve
from cofi_dist.errors import ConfigError

Section: TypeAlias = Mapping[str, Any]
# A run_dir in which nothing can be: that of a model whose run was not kept.
NOT_KEPT = os.devnull


def resolve_settings(sections: Mapping[str, Section | None], *, run_dir: str | None, **rest: Any) -> Config:
    """Return the config that the arguments describe.

    Args:
        sections: of the config, by name; None for one that was not given.
        run_dir: the run directory; None if the run is not kept.
        rest: the keys outside of sections.

    Raises:
        ConfigError: one line that names the key.
    """
    values: dict[str, Any] = {key: plain(value) for key, value in rest.items()}
    for name, section in sections.items():
        if section is None:
            continue
        if not isinstance(section, Mapping):
            raise ConfigError(
                f"{name}: must be a mapping of the keys of that section, not {type(section).__name__}"
            )
        values[name] = plain(section)
    return resolve(values, run_dir=NOT_KEPT if run_dir is None else run_dir)


def plain(value: Any) -> Any:
    """Return a value as YAML would hold it: numpy's numbers as Python's, and paths as text."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def require_nothing_to_keep(config: Config) -> None:
    """Raise if something is to be kept, although there is no run directory.

    Raises:
        ConfigError: names the key.
    """
    wants = {
        "checkpoint.every": config.checkpoint.every is not None,
        "checkpoint.resume: auto": config.checkpoint.resume == "auto",
        "train.tensorboard": config.train.tensorboard,
    }
    for key, is_wanted in wants.items():
        if is_wanted:
            raise ConfigError(
                f"{key}: nothing of a run is kept without run_dir; set run_dir, or leave it out"
            )
