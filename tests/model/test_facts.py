"""What a model knows of its training data is read back as it was written, or refused in plain words."""

import json
import math
from dataclasses import replace

import pytest

from cofi_dist.config import ColumnNames
from cofi_dist.model.facts import TrainingDataFacts

FACTS = TrainingDataFacts(
    global_mean=3.5,
    lowest=0.5,
    highest=5.0,
    fingerprint="sha256:00",
    columns=ColumnNames(user="who"),
    diverged="the cost at epoch 3",
)


def test_facts_are_read_back_from_metadata() -> None:
    assert TrainingDataFacts.from_metadata(FACTS.to_metadata()) == FACTS


def test_facts_of_events_are_read_back_and_have_no_scale() -> None:
    facts = replace(FACTS, feedback="implicit", global_mean=0.0, lowest=-math.inf, highest=math.inf)
    assert TrainingDataFacts.from_metadata(facts.to_metadata()) == facts
    assert facts.is_implicit
    assert (facts.noun, FACTS.noun) == ("event", "rating")


def test_facts_of_earlier_versions_are_about_ratings() -> None:
    metadata = FACTS.to_metadata()
    del metadata["feedback"]
    assert TrainingDataFacts.from_metadata(metadata) == FACTS
    assert not FACTS.is_implicit


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lowest": 9.0}, "lowest, 9.0, is not below highest, 5.0"),
        ({"global_mean": 6.0}, "global_mean, 6.0, is not between lowest and highest"),
        ({"global_mean": "x"}, "global_mean"),
        ({"columns": 3}, "columns"),
        ({"feedback": "shouted"}, "feedback"),
    ],
)
def test_facts_that_no_model_has_are_refused(change: dict[str, object], says: str) -> None:
    metadata = FACTS.to_metadata() | {name: json.dumps(value) for name, value in change.items()}
    with pytest.raises(ValueError, match=says):
        TrainingDataFacts.from_metadata(metadata)


def test_a_missing_fact_is_named() -> None:
    metadata = FACTS.to_metadata()
    del metadata["fingerprint"]
    with pytest.raises(ValueError, match="fingerprint"):
        TrainingDataFacts.from_metadata(metadata)
