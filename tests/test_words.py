"""Numbers with their nouns."""

import numpy as np
import pytest

from cofi_dist.words import counted, have


@pytest.mark.parametrize(
    ("number", "noun", "says"),
    [
        (0, "user", "0 users"),
        (1, "user", "1 user"),
        (12345, "user", "12,345 users"),
        (np.int64(2), "training rating", "2 training ratings"),
        (3, "place of a list", "3 places of a list"),
        (1, "place of a list", "1 place of a list"),
    ],
)
def test_a_number_has_its_noun(number: int, noun: str, says: str) -> None:
    assert counted(number, noun) == says


def test_one_has_and_others_have() -> None:
    assert [have(number) for number in (0, 1, 2)] == ["have", "has", "have"]
