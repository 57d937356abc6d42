"""Define the base of all sections of a config, and the kinds of values that several sections have.

The docstring below each key of a section is what docs/config.md says of it: `python -m tools.config_table`.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator

from cofi_dist.files.paths import as_data_path, as_path
from cofi_dist.files.reading import shortened

PositiveInt = Annotated[int, Field(ge=1, le=2**53)]
RowCount = Annotated[int, Field(ge=1, le=2**31 - 1)]  # rows are numbered by int32
Seed = Annotated[int, Field(ge=0, lt=2**63)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
FileName = Annotated[str, AfterValidator(as_path)]


def _file_names(given: Any) -> str | list[str]:
    """Check what names files that are read: a path, a pattern, a URL, or a list of these."""
    names = given if isinstance(given, list) else [given]
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"must be text, and {shortened(name)} is not text in YAML; put it in quotes")
    if not names:
        raise ValueError("an empty list names no file")
    checked = [as_data_path(name) for name in names]
    return checked if isinstance(given, list) else checked[0]


FileNames = Annotated[str | list[str], PlainValidator(_file_names)]


class Section(BaseModel):
    """Refuse unknown keys and values of another type; only an int is taken for a float."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
