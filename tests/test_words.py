"""Numbers with their nouns."""

from pathlib import Path

import numpy as np
import pytest

from cofi_dist.data.ids import IdMap
from cofi_dist.model.evaluate import evaluate
from cofi_dist.model.held_out import HeldOut
from cofi_dist.words import counted, have
from tests.support.models import made_up, rated_halves


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


def test_what_python_shows_fits_in_a_few_lines(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    rated = rated_halves(model, 100)
    held_out = HeldOut.from_run(rated, "test")
    shown = {
        "Model(12 users, 30 items, 4 features; adam, lambda 1; ratings from 0.5 to 5)": model,
        "Factors(X (30, 4), W (12, 4), b (1, 12), c (1, 30), float64)": model.factors,
        "IdMap(12 ids: 'u0000', 'u0001', 'u0002', ...)": model.users,
        "IdMap(2 ids: 0, 1)": IdMap.row_numbers(2),
        "RunRatings(train, test; 12 users, 30 items)": rated,
        "HeldOut(12 users, 30 items)": held_out,
    }
    assert [repr(one) for one in shown.values()] == list(shown)
    folded = model.fold_in([100, 7], [4.0, 5.0])
    assert repr(folded) == f"FoldedUser(4 features, b {folded.b:.4g}; 1 known item, 1 unknown)"
    said = repr(evaluate(model.scorer, held_out, rated, k=5, relevant=6.0))
    assert said.startswith("Evaluation(50 ratings by 12 users; rmse ")
    assert said.endswith("; k 5: precision -, recall -, ndcg -, map -, hit_rate -, mrr -)")
    assert len(said) < 160


def test_one_has_and_others_have() -> None:
    assert [have(number) for number in (0, 1, 2)] == ["have", "has", "have"]
