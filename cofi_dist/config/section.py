"""Define the base of all sections of a config, and the kinds of values that several sections have.

The docstring below each key of a section is what docs/config.md says of it: `python -m tools.config_table`.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cofi_dist.files.paths import as_path

PositiveInt = Annotated[int, Field(ge=1, le=2**53)]
RowCount = Annotated[int, Field(ge=1, le=2**31 - 1)]  # rows are numbered by int32
Seed = Annotated[int, Field(ge=0, lt=2**63)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
FileName = Annotated[str, AfterValidator(as_path)]


class Section(BaseModel):
    """Refuse unknown keys and values of another type; only an int is taken for a float."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
