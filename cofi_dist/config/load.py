"""Strict YAML, dotted KEY=VALUE overrides, one line for every mistake.

A null, in the file or as KEY=null, means that the key is not set.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from cofi_dist.config.schema import Config
from cofi_dist.errors import ConfigError


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice; PyYAML would keep the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise ConfigError(f"line {line}: a key must be text, not {key!r}")
            if key in seen:
                raise ConfigError(f"line {line}: {key}: given twice; keep one of them")
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_config(file: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML file, apply KEY=VALUE overrides, check everything.

    Args:
        file: path of the YAML file; `run_dir` defaults to runs/ and this file's name.
        overrides: `KEY=VALUE`, KEY a dotted path, VALUE as YAML would read it.

    Raises:
        ConfigError: one line that names the file (or the override) and the key.
    """
    path = Path(file)
    try:
        values = _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold `key: value` lines, not {_kind(values)}")
    return resolve({"run_dir": f"runs/{path.stem}", **values}, str(path), overrides)


def as_yaml(text: str) -> str:
    """Any text as the VALUE of an override: YAML, of which JSON is a part."""
    return json.dumps(text, ensure_ascii=False)


def resolve(values: dict[str, Any], name: str, overrides: Iterable[str] = ()) -> Config:
    """Check a config's values, with KEY=VALUE overrides applied to them.

    Args:
        values: sections by key; changed by the overrides.
        name: what the values came from, for messages.
        overrides: as for `load_config`.

    Raises:
        ConfigError: one line that names `name` (or the override) and the key.
    """
    keys = [_override(values, text) for text in overrides]
    try:
        return Config.model_validate(_without_nulls(values))
    except RecursionError:
        raise ConfigError(f"{name}: an alias refers to what it stands in; write the values out") from None
    except ValidationError as error:
        raise ConfigError(_explain(error, name, keys)) from None


def _parse(text: str) -> Any:
    try:
        # a SafeLoader: it builds plain values only
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"line {line}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"not YAML: {error}") from None


def _override(values: dict[str, Any], text: str) -> str:
    """Set one KEY=VALUE in `values`; returns KEY."""
    key, equals, value = text.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise ConfigError(f"{text!r}: an override is KEY=VALUE, such as train.epochs=300")
    for part in parts[:-1]:
        inner = values.get(part)
        if inner is None:
            inner = values[part] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"override {text!r}: {part} is {_kind(inner)}, not a section")
        values = inner
    try:
        values[parts[-1]] = _parse(value)
    except ConfigError as error:
        raise ConfigError(f"override {text!r}: {error}") from None
    return key


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_nulls(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }


def _explain(error: ValidationError, file: str, overridden: list[str]) -> str:
    """The first mistake as `FILE: KEY: what is wrong and what to do`."""
    # a misspelt key is also a missing one; name what the user wrote
    first = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    key = ".".join(str(part) for part in first["loc"])
    given, kind = first["input"], first["type"]
    if kind == "extra_forbidden":
        what = f"unknown key; {_keys_beside(first['loc'])}"
    elif kind == "missing":
        what = "is missing; say where the ratings come from" if key == "data" else "is missing"
    elif kind == "value_error":
        what = str(first["ctx"]["error"])
    elif kind in ("float_type", "int_type") and _is_finite_number(given):
        what = f"{given!r} is text in YAML 1.1; write {_as_yaml_number(given, kind)}"
    else:
        what = f"{first['msg'][0].lower()}{first['msg'][1:]}, not {given!r}"
    override = " (override)" if any(k == key or k.startswith(f"{key}.") for k in overridden) else ""
    return f"{file}{override}: {key}: {what}" if key else f"{file}: {what}"


def _keys_beside(location: tuple[int | str, ...]) -> str:
    """The keys of the section in which a key was not found."""
    section: type[BaseModel] = Config
    for part in location[:-1]:
        kind = section.model_fields[str(part)].annotation
        # the section itself, or the section in `Section | None`
        section = next(k for k in (kind, *get_args(kind)) if isinstance(k, type) and issubclass(k, BaseModel))
    return f"there are {', '.join(section.model_fields)}"


def _is_finite_number(text: Any) -> bool:
    try:
        return isinstance(text, str) and math.isfinite(float(text))
    except ValueError:
        return False


def _as_yaml_number(text: str, kind: str) -> str:
    number = float(text)
    if kind == "int_type" and number.is_integer():
        return str(int(number))
    return str(yaml.safe_dump(number)).split("\n")[0]


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
