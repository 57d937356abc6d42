"""Check the content of a small JSON file against the types that its keys must have."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cofi_dist.files.reading import MOST_JSON, read_json, shortened


class Record(BaseModel):
    """Hold the expected content of a JSON file, with strict types; other keys are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


R = TypeVar("R", bound=Record)


def read_record(path: str | Path, kind: type[R], most_bytes: int = MOST_JSON) -> R:
    """Return the content of a small JSON file as a checked record.

    Raises:
        OSError: as `open_regular`.
        ValueError: as `parse_json`; or a key is missing, or its value is not what it should be.
    """
    return check_record(read_json(path, most_bytes), kind)


def check_record(said: object, kind: type[R]) -> R:
    """Check parsed JSON against a record.

    Raises:
        ValueError: names the key that is missing, or says what its value should be.
    """
    if not isinstance(said, dict):
        raise ValueError(f"holds {shortened(said)}, not an object of keys")
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        raise ValueError(first_mistake(error)) from None


def first_mistake(error: ValidationError) -> str:
    """Return the first mistake in one line: the key, and what its value should be."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    what = f"{first['msg'][0].lower()}{first['msg'][1:]}"
    if first["type"] == "missing":
        return f"has no {shortened(where, quoted=False)}"
    return f"{shortened(where, quoted=False)}: {what}, not {shortened(first['input'])}"
