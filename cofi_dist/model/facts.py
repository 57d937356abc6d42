"""What a model knows of the ratings it was trained on."""

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Annotated

from pydantic import Field

from cofi_dist.config import Columns
from cofi_dist.files.reading import Record, check_record, parse_json

Text = Annotated[str, Field(max_length=4096)]


@dataclass(frozen=True)
class TrainingDataFacts:
    """What a model knows of the ratings it was trained on.

    Attributes:
        global_mean: of the training ratings; the centre of an item that the model does not know.
        lowest, highest: of the training ratings; predictions are clipped to them. Infinite for
            arrays, whose ratings were centred before we saw them.
        fingerprint: of the ratings, held-out ones among them.
        columns: names of the columns that they were read from.
        diverged: what turned NaN or infinite in the run, of which this is the last good model; empty
            if nothing did.
    """

    global_mean: float
    lowest: float
    highest: float
    fingerprint: str
    columns: Columns
    diverged: str = ""

    def to_metadata(self) -> dict[str, str]:
        """Each of them as JSON."""
        said = {**asdict(self), "columns": self.columns.model_dump()}
        return {name: json.dumps(value) for name, value in said.items()}

    @classmethod
    def of_metadata(cls, said: dict[str, str]) -> "TrainingDataFacts":
        """What `to_metadata` gave.

        Raises:
            ValueError: it is not all there, or not what it should be; in plain words.
        """
        names = [field.name for field in fields(cls) if field.name in said]
        checked = check_record({name: parse_json(said[name]) for name in names}, _Said)
        if not checked.lowest <= checked.highest:
            raise ValueError(f"lowest, {checked.lowest}, is not below highest, {checked.highest}")
        nearest = min(max(checked.global_mean, checked.lowest), checked.highest)
        if not math.isclose(checked.global_mean, nearest, rel_tol=1e-6, abs_tol=1e-6):  # as it is rounded
            raise ValueError(f"global_mean, {checked.global_mean}, is not between lowest and highest")
        return cls(**{name: getattr(checked, name) for name in names})


class _Said(Record):
    """The facts as JSON has them."""

    global_mean: Annotated[float, Field(allow_inf_nan=False)]
    lowest: float
    highest: float
    fingerprint: Text
    columns: Columns
    diverged: Text
