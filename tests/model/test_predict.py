"""Predicted ratings, and what stands in for users and items that the model does not know."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cofi_dist.errors import DataError
from cofi_dist.model import predict
from tests.support.models import dense_scores, made_up


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
    monkeypatch.setattr(predict, "MAX_GATHERED", 1)
    assert np.array_equal(model.predict(users, items), whole)


def test_unknown_users_and_items_fall_back_on_means(tmp_path: Path) -> None:
    model = made_up(tmp_path, item_bias=False)
    model.factors.b[0, 3] = 0.25
    got = model.predict(["nobody", "u0003", "nobody"], [104, 9, 9])
    average = float(model.factors.b.mean())
    np.testing.assert_allclose(got, [float(model.item_means[4]) + average, 3.25 + 0.25, 3.25 + average])
    assert model.fallbacks == (
        "the item's mean + the average user's bias",
        "the global mean + the user's bias",
    )


def test_where_no_means_were_taken_out_the_biases_hold_them(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    model.item_means[:] = 0
    model.factors.b[:], model.user_counts[2] = 1.5, 0
    model.factors.b[0, 2], model.factors.b[0, 3] = 99.0, 3.9  # one was not trained
    model.item_counts[7], c = 0, model.factors.c
    assert c is not None
    c[0, 7] = -99.0
    average_b, average_c = (10 * 1.5 + 3.9) / 11, float(c[0, model.item_counts > 0].mean())
    got = model.predict(["nobody", "u0003", "nobody", "u0002"], [104, 9, 107, 9])
    want = [average_b + float(c[0, 4]), 3.9 + average_c, average_b + average_c, average_b + average_c]
    np.testing.assert_allclose(got, np.clip(want, 0.5, 5.0))
    assert model.fallbacks == (
        "the item's bias + the average user's bias",
        "the average item's bias + the user's bias",
    )


def test_a_model_of_events_gives_scores_that_are_not_clipped(tmp_path: Path) -> None:
    model = made_up(tmp_path, 12, 30, "data.feedback=implicit")
    user, item = np.repeat(model.users.raw, 30), np.tile(model.items.raw, 12)
    got = model.predict(user.tolist(), item.tolist())
    np.testing.assert_allclose(got, dense_scores(model).ravel(), rtol=1e-12)
    assert got.min() < 0


def test_without_biases_whatever_is_unknown_scores_0(tmp_path: Path) -> None:
    model = made_up(tmp_path, 12, 30, "data.feedback=implicit", item_bias=False)
    assert model.predict(["nobody", "u0003", "nobody"], [104, 9, 9]).tolist() == [0.0, 0.0, 0.0]
    assert model.fallbacks == ("0", "0")
    with_item_bias = made_up(tmp_path, 12, 30, "data.feedback=implicit")
    assert with_item_bias.fallbacks == ("the item's bias", "the average item's bias")
    c = with_item_bias.factors.c
    assert c is not None
    np.testing.assert_allclose(with_item_bias.predict(["nobody"], [104]), [float(c[0, 4])])


def test_a_row_without_training_ratings_counts_as_unknown(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    model.item_counts[4], model.user_counts[3] = 0, 0
    everyone, everything = model.users.raw, model.items.raw
    np.testing.assert_array_equal(
        model.predict(["u0003"] * 30, everything), model.predict(["nobody"] * 30, everything)
    )
    np.testing.assert_array_equal(model.predict(everyone, [104] * 12), model.predict(everyone, [9] * 12))
    best = model.recommend("u0003", 30)
    np.testing.assert_allclose(best["prediction"], model.predict(["nobody"] * 30, best["item"]))
    assert next(model.recommend_all(30)).filter(user="u0003")["score"].to_list() == best["score"].to_list()


def test_pairs_have_one_of_each(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 users, but 1 item; a pair has one of each"):
        made_up(tmp_path).predict(["u0001", "u0002"], [104])


def test_no_pairs_give_no_predictions(tmp_path: Path) -> None:
    assert made_up(tmp_path).predict([], []).shape == (0,)
