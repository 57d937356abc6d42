"""Check the arguments of `fit`, and make a config of them, with the messages of a YAML file."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from cofi_dist.config import SOURCES, Config, resolve
from cofi_dist.errors import ConfigError
from cofi_dist.files.reading import shortened
from cofi_dist.model import Model
from cofi_dist.trackers import Callback

Section: TypeAlias = Mapping[str, Any]
# A run_dir in which nothing can be: that of a model whose run was not kept.
NOT_KEPT = os.devnull


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Hold the arguments of `fit`, which documents them.

    Attributes:
        ratings: as given.
        sections: of the config, by name; None for those that were not given.
        seed, device, start, run_dir, progress, callbacks: as given.
    """

    ratings: object
    sections: Mapping[str, Section | None]
    seed: int
    device: str
    start: object
    run_dir: object
    progress: bool | None
    callbacks: Sequence[Callback] = ()

    @property
    def keeps_run(self) -> bool:
        """Tell whether there is a run directory."""
        return self.run_dir is not None

    @property
    def start_model(self) -> Model | None:
        """Return the model that the training starts from, unless it is the path of one."""
        return self.start if isinstance(self.start, Model) else None

    def facts(self) -> dict[str, Any]:
        """Return what must be the same on all ranks, as JSON values.

        Raises:
            ConfigError: an argument is of the wrong type.
        """
        self._require_types()
        start = "a model" if self.start_model is not None else _path(self.start)
        named = {"seed": self.seed, "device": self.device, "start": start, "run_dir": _path(self.run_dir)}
        return {name: _as_json(value) for name, value in (_plain({**self.sections, **named})).items()}

    def config(self, source: Mapping[str, Any], overrides: Iterable[str] = ()) -> Config:
        """Return the config that the arguments describe.

        Args:
            source: the keys of the section `data` that say what `ratings` is; none if it is not given.
            overrides: texts `KEY=VALUE` that replace what the arguments say.

        Raises:
            ConfigError: one line that names the key.
        """
        self._require_types()
        data: dict[str, Any] = {k: v for k, v in (self.sections["data"] or {}).items() if v is not None}
        named = [key for key in SOURCES if key in data]
        if source and named:
            raise ConfigError(f"data.{named[0]}: ratings are given too; leave one of the two out")
        if "table" in named:
            raise ConfigError("data.table: fit sets it; give the table itself as ratings")
        if not source and not named:
            raise ConfigError("ratings: give a table or the path of a file, or name a source in data")
        values: dict[str, Any] = {name: section for name, section in self.sections.items() if section}
        values |= {"data": {**data, **source}, "seed": self.seed, "device": self.device}
        if self.start is not None and self.start_model is None:
            values["train"] = {**values.get("train", {}), "start": _path(self.start)}
        run_dir = NOT_KEPT if self.run_dir is None else _path(self.run_dir)
        config = resolve(_plain(values), overrides=overrides, run_dir=run_dir)
        if not self.keeps_run:
            _require_nothing_to_keep(config)
        return config

    def _require_types(self) -> None:
        for name, section in self.sections.items():
            if section is not None and not isinstance(section, Mapping):
                raise ConfigError(
                    f"{name}: must be a mapping, such as a dict, of the keys of that section, not"
                    f" {shortened(section)}"
                )
            _require_text_keys(name, section or {})
        if not isinstance(self.progress, bool | np.bool_ | None):
            raise ConfigError(f"progress: must be None, True or False, not {shortened(self.progress)}")
        if self.run_dir is not None and not isinstance(_path(self.run_dir), str):
            raise ConfigError(f"run_dir: must be a path, not {shortened(self.run_dir)}")
        _require_callbacks(self.callbacks)
        if self.start is None or self.start_model is not None:
            return
        if not isinstance(_path(self.start), str):
            raise ConfigError(f"start: must be a model or the path of one, not {shortened(self.start)}")
        if (self.sections["train"] or {}).get("start") is not None:
            raise ConfigError("train.start: start is given too; leave one of the two out")


def _require_callbacks(given: object) -> None:
    if not isinstance(given, list | tuple):
        raise ConfigError(f"callbacks: must be a list of cofi_dist.Callback, not {shortened(given)}")
    for each in given:
        if not isinstance(each, Callback):
            raise ConfigError(f"callbacks: {shortened(each)} is not an instance of cofi_dist.Callback")


def _require_text_keys(name: str, section: Section) -> None:
    for key, value in section.items():
        if not isinstance(key, str):
            raise ConfigError(f"{name}: {shortened(key)} is no key; keys are text")
        if isinstance(value, Mapping):
            _require_text_keys(f"{name}.{key}", value)


def _path(value: object) -> Any:
    """Return a path as text, if it is one."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _plain(value: Any) -> Any:
    """Return a value as YAML would hold it: numpy's numbers as Python's, and paths as text."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else _path(value)


def _as_json(value: Any) -> Any:
    """Return a value as JSON can hold it: in words, if it is of no type that a config has."""
    if isinstance(value, dict):
        return {key: _as_json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    return value if isinstance(value, str | bool | int | float | None) else repr(value)


def _require_nothing_to_keep(config: Config) -> None:
    """Raise ConfigError if something is to be kept, although there is no run directory."""
    wants = {
        "checkpoint.every": config.checkpoint.every is not None,
        "checkpoint.resume: auto": config.checkpoint.resume == "auto",
        "train.loggers": bool(config.train.loggers),
    }
    for key, is_wanted in wants.items():
        if is_wanted:
            raise ConfigError(f"{key}: nothing is kept without run_dir; set run_dir, or leave it out")
