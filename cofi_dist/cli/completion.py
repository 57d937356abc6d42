"""Complete arguments for a shell: run directories, keys of a config and names of data sets."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from cofi_dist.data.datasets.catalog import DATASETS
from cofi_dist.run_layout import is_run

MOST_LOOKED_AT, DEEPEST = 2000, 3  # directories, and how far below the one that is named


def complete_run(incomplete: str) -> list[str]:
    """Return the run directories whose paths begin so, or those below such directories."""
    folder, _, _ = incomplete.rpartition("/")
    start = Path(f"{folder}/" if folder or incomplete.startswith("/") else ".")
    prefix = "" if start == Path() else f"{str(start).rstrip('/')}/"
    below = (f"{prefix}{path}" for path in _directories(start, "", DEEPEST))
    return sorted(
        path for path in islice(below, MOST_LOOKED_AT) if path.startswith(incomplete) and is_run(Path(path))
    )


def _directories(start: Path, inner: str, depth: int) -> Iterator[str]:
    """Yield the directories below one, by their paths from it; what a run holds is not looked at."""
    try:
        found = sorted(path for path in (start / inner).iterdir() if path.is_dir())
    except OSError:
        return
    for path in found:
        if path.name.startswith("."):
            continue
        name = f"{inner}{path.name}"
        yield name
        if depth > 1 and not is_run(path):
            yield from _directories(start, f"{name}/", depth - 1)


def complete_data_set(incomplete: str) -> list[str]:
    """Return the known data sets whose names begin so."""
    return [name for name in DATASETS if name.startswith(incomplete)]


def complete_key(incomplete: str) -> list[str]:
    """Return the keys of a config that begin so, each with `=`."""
    return [f"{key}=" for key in config_keys() if key.startswith(incomplete)]


def complete_override(context: typer.Context, incomplete: str) -> list[str]:
    """Return the keys of a config that begin so, each with `=`; of a whole key, its values.

    In bash, `=` is a word of its own, so the key of a value has been read as an argument.
    """
    given = context.params.get("overrides") or []
    if incomplete == "=" and given:
        return _values(given[-1])
    if given[-1:] == ["="] and len(given) > 1:
        return [value for value in _values(given[-2]) if value.startswith(incomplete)]
    key, equals, _ = incomplete.partition("=")
    if equals:
        return [text for value in _values(key) if (text := f"{key}={value}").startswith(incomplete)]
    keys = complete_key(incomplete)
    if len(keys) == 1:  # with its values, as after a single candidate a shell would write a space
        return [f"{keys[0]}{value}" for value in ("", *_values(keys[0].removesuffix("=")))]
    return keys


def config_keys() -> dict[str, Any]:
    """Return the dotted keys of a config that hold no section, each with its field of pydantic's."""
    from cofi_dist.config import Config

    return dict(_keys(Config, ""))


def _keys(section: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, field in section.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        inner = [kind for kind in kinds if hasattr(kind, "model_fields")]
        if inner:
            yield from _keys(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _values(key: str) -> list[str]:
    """Return the values that a key may have, if they can be counted, or else its default."""
    field = config_keys().get(key)
    if field is None:
        return []
    for kind in (field.annotation, *get_args(field.annotation)):
        if get_origin(kind) is Literal:
            return list(map(str, get_args(kind)))
        if kind is bool:
            return ["true", "false"]
    default = field.get_default()
    return ["null"] if field.is_required() or default is None else [str(default)]
