"""Write docs/config.md, the table of all config keys, from the schema.

Run `python -m tools.config_table` after a change of cofi_dist/config/.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, PlainValidator
from pydantic.fields import FieldInfo

from cofi_dist.config.data_section import SPLIT_DEFAULTS, DataSection, SplitSection
from cofi_dist.config.schema import Config
from cofi_dist.config.section import Section
from cofi_dist.config.strict_yaml import to_yaml
from cofi_dist.config.train_section import TrainSection

PAGE = Path(__file__).parents[1] / "docs" / "config.md"

HEAD = """# Config keys

<!-- Written by `python -m tools.config_table` from cofi_dist/config/; do not edit. -->

A config is a YAML file. Every key has a default, except for where the ratings come from.
`cofi-dist config FILE` prints the resolved config, or what is wrong with it. On the command line, `KEY=VALUE`
sets a key, each once, and `KEY=null` unsets it:

    cofi-dist train --config mine.yaml train.lr=1e-3 'data.test={by: last, n: 1}' data.ratings=~/ratings.csv

- VALUE is YAML. If the key holds text, such as a path, VALUE is taken as it stands. Where a list may stand
  too, as in `data.ratings=[a.csv,b.csv]`, what is in brackets is a list.
- A path is a name, never a pattern or a URL; only ratings files may be given as such (docs/data.md). A home
  directory at its start (`~/x`, `~ann/x`) is written out.
- A number may have an exponent, with or without a point: `1e-4`, `1.0e-4`. In quotes it is text.
- What YAML 1.1 would read as something else is refused (`010`, `1:30`) or text (`yes`, `2026-01-31`).
- A config of more than 64 KB is refused, and so are aliases that unfold to thousands of values.
"""

# Settings that change the defaults of other keys of their section.
CONDITIONS: dict[type[Section], list[dict[str, Any]]] = {
    TrainSection: [{"optimizer": "als"}, {"reduction": "invariant"}],
    DataSection: [{"centre": "damped_item_mean"}],
    SplitSection: [{"by": kind} for kind, filled_in in SPLIT_DEFAULTS.items() if filled_in],
}
# What a section must be given, so that the defaults of its other keys can be seen.
REQUIRED: dict[type[Section], dict[str, Any]] = {
    Config: {"run_dir": "r", "data": {"ratings": "r.csv"}},
    DataSection: {"ratings": "r.csv"},
}
RUN_DIR = "`runs/NAME`, if the file is NAME.yaml"  # its default is not in the schema, but in load.py


def page() -> str:
    """Return the text of docs/config.md."""
    lines = [HEAD, "## The run", "", *_table(Config, "")]
    for names, section in inner_sections(Config, ""):
        lines += [f"## {' and '.join(f'`{name}`' for name in names)}", ""]
        lines += [" ".join(inspect.cleandoc(section.__doc__ or "").split())]
        lines += [f"`{name}` has the same keys as `{names[0]}`." for name in names[1:]]
        lines += ["", *_table(section, f"{names[0]}.")]
    return "\n".join(lines)


def descriptions(section: type[Section]) -> dict[str, str]:
    """Return the docstring below each key of a section, on one line."""
    (body,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for key, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name):
            match below:
                case ast.Expr(ast.Constant(str(text))):
                    found[key.target.id] = " ".join(text.split())
    return found


def inner_sections(above: type[Section], prefix: str) -> Iterator[tuple[list[str], type[Section]]]:
    """Yield every section below another one, each once, with the dotted keys that hold it."""
    keys: dict[type[Section], list[str]] = {}
    for key, field in above.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                keys.setdefault(kind, []).append(f"{prefix}{key}")
    for section, names in keys.items():
        yield names, section
        yield from inner_sections(section, f"{names[0]}.")


def _table(section: type[Section], prefix: str) -> list[str]:
    """Return the lines of the table of a section's keys; those that only hold a section are left out."""
    lines = ["| key | value | default | |", "|---|---|---|---|"]
    for key, text in descriptions(section).items():
        default = RUN_DIR if key == "run_dir" else _default(section, key)
        lines.append(f"| `{prefix}{key}` | {_values(section.model_fields[key])} | {default} | {text} |")
    return [*lines, ""]


def _default(section: type[Section], key: str) -> str:
    """Return the default of a key, and those that it has beside certain other settings."""
    required = REQUIRED.get(section, {})
    if key in required:
        return ""
    default = getattr(section.model_validate(required), key)
    words = [] if default is None else [_as_code(default)]
    for setting in CONDITIONS.get(section, []):
        other = getattr(section.model_validate({**required, **setting}), key)
        if key not in setting and other not in (default, None):
            words.append(f"{_as_code(other)} with {_as_code(setting)}")
    return "; ".join(words)


def _as_code(value: Any) -> str:
    return f"`{to_yaml(value, one_line=True).strip('{}')}`"


def _values(field: FieldInfo) -> str:
    """Return in words which values a key may have."""
    kind, limits = field.annotation, list(field.metadata)
    for part in get_args(kind):  # of `Annotated[int, Field(ge=1)] | None`
        if hasattr(part, "__metadata__"):
            kind = get_args(part)[0]
            limits += [each for outer in part.__metadata__ for each in getattr(outer, "metadata", [outer])]
        elif get_origin(part) is Literal or (isinstance(part, type) and part is not type(None)):
            kind = part
    if get_origin(kind) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(kind))
    if any(isinstance(each, AfterValidator) for each in limits):
        return "path"
    if any(isinstance(each, PlainValidator) for each in limits):
        return "path, pattern, URL or list of these"
    if kind in (int, float):
        return " ".join(["integer" if kind is int else "number", *_limit_words(limits)])
    if kind in (bool, str):
        return "`true`, `false`" if kind is bool else "text"
    return "section"


def _limit_words(limits: list[Any]) -> Iterator[str]:
    for each in limits:
        match each:
            case Ge(ge=number):
                yield f"from {_bound(number)}"
            case Gt(gt=number):
                yield f"above {_bound(number)}"
            case Le(le=number):
                yield f"to {_bound(number)}"
            case Lt(lt=number):
                yield f"below {_bound(number)}"


def _bound(number: Any) -> str:
    for power in (31, 53, 63):
        for less in (0, 1):
            if number == 2**power - less:
                return f"2^{power}{' - 1' * less}"
    return f"{number:g}"


if __name__ == "__main__":
    PAGE.write_text(page())
