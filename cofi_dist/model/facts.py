"""Keep what a model knows of the ratings it was trained on."""

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Self

from pydantic import Field

from cofi_dist.config import ColumnNames, Feedback
from cofi_dist.files.reading import parse_json
from cofi_dist.files.records import Record, check_record

Text = Annotated[str, Field(max_length=4096)]


@dataclass(frozen=True)
class TrainingDataFacts:
    """Hold what a model knows of the ratings it was trained on.

    Attributes:
        global_mean: mean of the training ratings, which stands in for the mean of an unknown item; 0 for
            events.
        lowest: lowest training rating; predictions are clipped to the scale from here to `highest`. Infinite
            for arrays, whose ratings were centred before we saw them, and for events.
        highest: highest training rating.
        fingerprint: of the ratings, including the held-out ones.
        columns: names of the columns that the ratings were read from.
        diverged: what became NaN or infinite in the run, if this is the last good model before that;
            else empty.
        feedback: whether the model learnt from ratings, or from events. Models of earlier versions, which do
            not say so, learnt from ratings.
    """

    global_mean: float
    lowest: float
    highest: float
    fingerprint: str
    columns: ColumnNames
    diverged: str = ""
    feedback: Feedback = "explicit"

    @property
    def is_implicit(self) -> bool:
        """Tell whether the model learnt from events, so that it gives scores and predicts no ratings."""
        return self.feedback == "implicit"

    @property
    def noun(self) -> str:
        """Return what messages call one pair of the training data."""
        return "event" if self.is_implicit else "rating"

    def to_metadata(self) -> dict[str, str]:
        """Return each attribute as JSON, by name."""
        values = {**asdict(self), "columns": self.columns.model_dump()}
        return {name: json.dumps(value) for name, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> Self:
        """Read what `to_metadata` returned.

        Raises:
            ValueError: an attribute is missing or has a wrong value; the message says which.
        """
        names = [field.name for field in fields(cls) if field.name in metadata]
        checked = check_record({name: parse_json(metadata[name]) for name in names}, _FactsRecord)
        if not checked.lowest <= checked.highest:
            raise ValueError(f"lowest, {checked.lowest}, is not below highest, {checked.highest}")
        nearest = min(max(checked.global_mean, checked.lowest), checked.highest)
        if not math.isclose(checked.global_mean, nearest, rel_tol=1e-6, abs_tol=1e-6):  # as it is rounded
            raise ValueError(f"global_mean, {checked.global_mean}, is not between lowest and highest")
        return cls(**{name: getattr(checked, name) for name in names})


class _FactsRecord(Record):
    """Declare the types of the facts in JSON."""

    global_mean: Annotated[float, Field(allow_inf_nan=False)]
    lowest: float
    highest: float
    fingerprint: Text
    columns: ColumnNames
    diverged: Text
    feedback: Feedback = "explicit"
