"""Typed config: strict YAML, dotted KEY=VALUE overrides, one line for every mistake.

A null, in the file or as KEY=null, means that the key is not set.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cofi_dist.errors import ConfigError

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """Unknown keys and wrong types are errors; nothing is converted but int to float."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Columns(Section):
    """Names of the columns of a ratings file with a header."""

    user: str = "userId"
    item: str = "movieId"
    rating: str = "rating"


class Synthetic(Section):
    """Shape and seed of made-up ratings; the defaults are ml-latest-small's shape."""

    num_users: PositiveInt = 610
    num_items: PositiveInt = 9724
    num_ratings: PositiveInt = 100_836
    seed: Annotated[int, Field(ge=0)] = 0


class Data(Section):
    """Exactly one of `ratings`, `y` with `r`, and `synthetic`."""

    ratings: str | None = None
    columns: Columns = Columns()
    y: str | None = None
    r: str | None = None
    synthetic: Synthetic | None = None
    centre: Literal["item_mean", "none"] = "item_mean"

    @model_validator(mode="before")
    @classmethod
    def _arrays_are_centred_already(cls, given: Any) -> Any:
        if isinstance(given, dict) and (given.get("y") or given.get("r")):
            if given.get("centre", "none") != "none":
                raise ValueError("the arrays y and r are taken as they are; leave centre out")
            return {**given, "centre": "none"}
        return given

    @model_validator(mode="after")
    def _exactly_one(self) -> "Data":
        if (self.y is None) != (self.r is None):
            missing = "r" if self.r is None else "y"
            raise ValueError(f"the arrays come as a pair; set data.{missing} too")
        sources = [k for k in ("ratings", "y", "synthetic") if getattr(self, k) is not None]
        if len(sources) != 1:
            found = " and ".join(sources) or "none of them"
            raise ValueError(f"set exactly one of ratings, y with r, synthetic; found {found}")
        return self


class Model(Section):
    """What is learnt."""

    num_features: PositiveInt = 100


class Train(Section):
    """How it is learnt; the defaults are the notebook's, but for the sparse cost."""

    epochs: PositiveInt = 15_000
    lr: PositiveFloat = 1e-4
    lambda_: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    cost: Literal["sparse", "dense"] = "sparse"
    dtype: Literal["float32", "float64"] = "float32"
    log_every: PositiveInt = 100
    tensorboard: bool = False


class Config(Section):
    """Everything a run depends on."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|mps)$")] = "auto"
    run_dir: Annotated[str, Field(min_length=1)]
    data: Data
    model: Model = Model()
    train: Train = Train()

    def to_yaml(self) -> str:
        """The resolved config; `load_config` of this text gives an equal config."""
        values = self.model_dump(exclude_none=True)
        if self.data.y is not None:
            del values["data"]["centre"]
        return yaml.safe_dump(values, sort_keys=False)


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
    keys = [_override(values, text) for text in overrides]
    try:
        return Config.model_validate({"run_dir": f"runs/{path.stem}", **_without_nulls(values)})
    except RecursionError:
        raise ConfigError(f"{path}: an alias refers to what it stands in; write the values out") from None
    except ValidationError as error:
        raise ConfigError(_explain(error, str(path), keys)) from None


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
    return f"{file}{override}: {key}: {what}"


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
    return "a list" if isinstance(value, list) else f"{value!r}"
