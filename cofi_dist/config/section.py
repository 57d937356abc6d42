"""What every section of a config is, and the kinds of values that several have."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cofi_dist.config.paths import as_path

PositiveInt = Annotated[int, Field(ge=1, le=2**53)]
Rows = Annotated[int, Field(ge=1, le=2**31 - 1)]  # which int32 numbers
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
FileName = Annotated[str, AfterValidator(as_path)]


class Section(BaseModel):
    """Unknown keys and wrong types are errors; nothing is converted but int to float."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
