"""Predicted ratings, and what stands in for users and items that the model does not know."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cofi_dist.errors import DataError
from cofi_dist.model import predict
from tests.model.models import dense_scores, made_up


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_prediction_is_the_score_clipped_to_the_scale(dtype: torch.dtype, tmp_path: Path) -> None:
    model = made_up(tmp_path, dtype=dtype)
    user, item = np.repeat(model.users.raw, 30), np.tile(model.items.raw, 12)
    got = model.predict(user.tolist(), item.tolist())
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, dense_scores(model).clip(0.5, 5.0).ravel(), rtol=1e-13)
    assert {0.5, 5.0} <= set(got)


def test_pieces_of_any_size_predict_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made_up(tmp_path)
    users, items = ["u0003", "nobody", "u0001"] * 5, [104, 110, 9] * 5
    whole = model.predict(users, items)
    monkeypatch.setattr(predict, "GATHER", 1)
    assert np.array_equal(model.predict(users, items), whole)


def test_unknown_users_and_items_fall_back_on_means(tmp_path: Path) -> None:
    model = made_up(tmp_path, item_bias=False)
    model.factors.b[0, 3] = 0.25
    got = model.predict(["nobody", "u0003", "nobody"], [104, 9, 9])
    np.testing.assert_allclose(got, [float(model.item_means[4]), 3.25 + 0.25, 3.25])


def test_where_no_means_were_taken_out_the_global_mean_stands_in_once(tmp_path: Path) -> None:
    model = replace(made_up(tmp_path, item_bias=False), item_means=torch.zeros(30, dtype=torch.float64))
    model.factors.b[0, 3] = 3.5  # holds the mean, as nothing else does
    np.testing.assert_allclose(model.predict(["nobody", "u0003", "nobody"], [104, 9, 9]), [3.25, 3.5, 3.25])


def test_pairs_have_one_of_each(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 users, but 1 items; a pair has one of each"):
        made_up(tmp_path).predict(["u0001", "u0002"], [104])


def test_no_pairs_give_no_predictions(tmp_path: Path) -> None:
    assert made_up(tmp_path).predict([], []).shape == (0,)
