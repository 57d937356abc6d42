"""Read a config from a YAML file and KEY=VALUE overrides, and report a mistake in one line.

A null, in the file or as KEY=null, means that the key is not set.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from cofi_dist.config.diff import is_within
from cofi_dist.config.schema import Config
from cofi_dist.config.strict_yaml import MOST_BYTES, parse, parse_to, to_yaml
from cofi_dist.errors import ConfigError
from cofi_dist.files.reading import read_failure, read_text, shortened


def load_config(file: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML file, apply KEY=VALUE overrides and check everything.

    Args:
        file: path of the YAML file; `run_dir` defaults to runs/ and this file's name.
        overrides: `KEY=VALUE`, where KEY is a dotted path and VALUE is YAML. If the key holds text, VALUE is
            taken as it stands, unless it is in quotes, or in brackets where the key may hold a list too.

    Raises:
        ConfigError: one line that names the file (or the override) and the key.
    """
    path = Path(file)
    try:
        values = parse(read_text(path, MOST_BYTES))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {read_failure(error)}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold `key: value` lines, not {_in_words(values)}")
    return resolve(values, str(path), overrides, run_dir=f"runs/{path.stem}")


def quote_yaml(text: str) -> str:
    """Return any text as the VALUE of an override, in quotes and on one line."""
    quoted = yaml.safe_dump(text, default_style='"', width=math.inf, allow_unicode=True)
    return str(quoted).removesuffix("\n")


def resolve(
    values: dict[str, Any], name: str = "", overrides: Iterable[str] = (), *, run_dir: str | None = None
) -> Config:
    """Apply KEY=VALUE overrides to the values of a config, and check everything.

    Args:
        values: sections by key; changed by the overrides.
        name: what the values came from, for messages; empty for arguments of a function.
        overrides: as for `load_config`.
        run_dir: the default of `run_dir`; without it, run_dir must be set.

    Raises:
        ConfigError: one line that names `name` (or the override) and the key.
    """
    keys: list[str] = []
    for text in overrides:
        keys += _apply_override(values, text, keys)
    if run_dir is not None and values.get("run_dir") is None:
        values["run_dir"] = run_dir
    try:
        return Config.model_validate(_without_nulls(values, Config))
    except ValidationError as error:
        raise ConfigError(_explain(error, name, keys)) from None


def _apply_override(values: dict[str, Any], text: str, before: list[str]) -> list[str]:
    """Set one KEY=VALUE in `values`, and return the keys that it sets; none of `before` may be set anew."""
    key, equals, given = text.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise ConfigError(f"{shortened(text)}: an override is KEY=VALUE, such as train.epochs=300")
    section = values
    for part in parts[:-1]:
        inner = section.get(part)
        if inner is None:
            inner = section[part] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"override {shortened(text)}: {part} is {_in_words(inner)}, not a section")
        section = inner
    try:
        value = _value_of(parts, given)
    except ConfigError as error:
        raise ConfigError(f"override {shortened(text)}: {error}") from None
    for old in before:
        if is_within(old, (key,)):
            raise ConfigError(f"override {shortened(text)}: {old} was set before it; keep one of them")
    section[parts[-1]] = value
    return _leaves(key, value)


def _value_of(parts: list[str], given: str) -> Any:
    """Return what VALUE says: its text, if the key holds text and it is no quote, null or list; else YAML."""
    if not given:
        raise ConfigError("there is no value; give one, or null to unset the key")
    kinds = _kinds_of(parts)
    is_list = list[str] in kinds and given.startswith("[") and given.endswith("]")
    if given not in ("null", "Null", "NULL") and given[0] not in "\"'" and str in kinds and not is_list:
        return given
    value, end = parse_to(given)
    if given[end:].strip():
        raise ConfigError(f"{shortened(given[end:].strip())} is a comment in YAML; put the value in quotes")
    return value


def _leaves(key: str, value: Any) -> list[str]:
    """Return the keys that a value sets. A section without keys counts as one key."""
    if isinstance(value, dict) and value:
        return [leaf for inner, each in value.items() for leaf in _leaves(f"{key}.{inner}", each)]
    return [key]


def _kinds_of(parts: list[str]) -> list[Any]:
    """Return the types that the value of a key may have; `str` is any text."""
    section: type[BaseModel] | None = Config
    for part in parts[:-1]:
        section = _section(section, part) if section else None
    field = section.model_fields.get(parts[-1]) if section else None
    return _kinds(field.annotation) if field else []


def _section(above: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the section below a key, of type `Section` or `Section | None`; None if it is not a section."""
    field = above.model_fields.get(key)
    kinds = _kinds(field.annotation) if field else []
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _kinds(annotation: Any) -> list[Any]:
    """Return a type and the types in it, such as Section and None of `Section | None`."""
    return [annotation, *(kind for part in get_args(annotation) for kind in _kinds(part))]


def _without_nulls(values: Mapping[str, Any], section: type[BaseModel] | None) -> dict[str, Any]:
    """Return the values without keys that are null. An unknown key stays, to be reported."""
    known = section.model_fields if section else ()
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found[key] = _without_nulls(value, _section(section, key) if section else None)
        elif value is not None or key not in known:
            found[key] = value
    return found


def _explain(error: ValidationError, file: str, overridden: list[str]) -> str:
    """Return the first mistake as `FILE: KEY: what is wrong and what to do`."""
    # a misspelt key is also a missing one: report what the user wrote
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    key = shortened(".".join(str(part) for part in first["loc"]), quoted=False)
    given, kind = first["input"], first["type"]
    if kind == "extra_forbidden":
        what = f"unknown key; {_keys_beside(first['loc'])}"
    elif kind == "missing":
        what = "is missing; say where the ratings come from" if key == "data" else "is missing"
    elif kind == "value_error":
        what = str(first["ctx"]["error"])
    elif kind in ("float_type", "int_type") and _is_finite_number(given):
        what = f"{given!r} is text; write {_number(given, kind)}, without quotes"
    elif kind == "int_type" and isinstance(given, float) and given.is_integer() and abs(given) < 2**63:
        what = f"must be a whole number; write {int(given)}, not {given!r}"
    elif kind == "bool_type" and str(given).lower() in ("yes", "no", "on", "off"):
        what = f"{given!r} is text here; write true or false"
    elif kind == "string_type" and isinstance(given, int | float):
        what = f"must be text, and {shortened(given)} is not text in YAML; put it in quotes"
    else:
        what = f"{first['msg'][0].lower()}{first['msg'][1:]}, not {shortened(given)}"
    is_overridden = any(is_within(each, (key,)) or is_within(key, (each,)) for each in overridden)
    override = " (override)" if is_overridden else ""
    return ": ".join(part for part in (f"{file}{override}", key, what) if part)


def _keys_beside(location: tuple[int | str, ...]) -> str:
    """Return the keys of the section in which a key was not found, as words."""
    section: type[BaseModel] = Config
    for part in location[:-1]:
        section = _section(section, str(part)) or section
    return f"there are {', '.join(section.model_fields)}"


def _is_finite_number(text: Any) -> bool:
    try:
        return isinstance(text, str) and math.isfinite(float(text))
    except ValueError:
        return False


def _number(text: str, kind: str) -> str:
    number = float(text)
    whole = kind == "int_type" and number.is_integer()
    return to_yaml(int(number) if whole else number, one_line=True)


def _in_words(value: Any) -> str:
    return "a list" if isinstance(value, list) else shortened(value)
