"""Recommendations and similar items."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from cofi_dist.errors import DataError, RunError
from cofi_dist.model import Model
from tests.support.models import dense_scores, made_up, rated_halves, trained


def test_recommend_is_a_plain_sort_of_the_scores(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    for j, scores in enumerate(dense_scores(model)):
        got = model.recommend(f"u{j:04}", k=7)
        want = np.argsort(-scores, kind="stable")[:7]
        assert got["item"].to_list() == (100 + want).tolist()
        assert got["rank"].to_list() == [1, 2, 3, 4, 5, 6, 7]
        np.testing.assert_allclose(got["score"], scores[want], rtol=1e-12)
        np.testing.assert_allclose(got["prediction"], scores[want].clip(0.5, 5.0), rtol=1e-12)


@pytest.mark.parametrize("item_bias", [False, True])
def test_a_model_of_events_lists_by_brute_force_scores_alone(item_bias: bool, tmp_path: Path) -> None:
    model = made_up(tmp_path, 12, 30, "data.feedback=implicit", item_bias=item_bias)
    all_lists = pl.concat(model.recommend_all(7, users_at_once=5))
    assert all_lists.columns == ["user", "rank", "item", "score"]
    for j, scores in enumerate(dense_scores(model)):
        got = model.recommend(f"u{j:04}", k=7)
        assert got.columns == ["rank", "item", "score"]
        want = np.argsort(-scores, kind="stable")[:7]
        assert got["item"].to_list() == (100 + want).tolist()
        np.testing.assert_allclose(got["score"], scores[want], rtol=1e-12)
        assert got["item"].equals(all_lists.filter(user=f"u{j:04}")["item"])


def test_what_is_clipped_alike_is_still_ranked(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    got = model.recommend("u0000", k=30)
    assert (got["prediction"] == 5.0).sum() > 1
    assert got["score"].is_sorted(descending=True)


def test_excluded_items_and_unknown_ids_among_them_are_left_out(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    all_of_them = model.recommend("u0000", k=30)["item"]
    got = model.recommend("u0000", k=30, exclude=[*all_of_them[:29].to_list(), 7])
    assert got["item"].to_list() == all_of_them[29:].to_list()
    assert model.recommend("u0000", exclude=all_of_them).is_empty()


@pytest.mark.parametrize("at_once", [1, 5, None])
def test_blocks_of_any_size_recommend_the_same(at_once: int | None, tmp_path: Path) -> None:
    model = made_up(tmp_path)
    rated = rated_halves(model, 120)
    table = pl.concat(model.recommend_all(5, rated, at_once))
    for user in model.users.raw:
        want = model.recommend(user, 5, exclude=rated.items_of(user))
        got = table.filter(pl.col("user") == user).drop("user")
        assert got.drop("score", "prediction").equals(want.drop("score", "prediction"))
        assert not set(got["item"]) & set(rated.items_of(user))


def test_all_users_come_with_no_data_too(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    table = pl.concat(model.recommend_all(3))
    assert table["user"].to_list() == [user for user in model.users.raw for _ in range(3)]


def planted(tmp: Path) -> Path:
    """Two tastes: even users love even items, odd users odd ones; six items a user are withheld."""
    lines = ["userId,movieId,rating"]
    for j in range(20):
        for i in range(20):
            if (i - j) % 20 >= 6:  # three of either kind are not
                lines.append(f"{j},{i},{5 if (i + j) % 2 == 0 else 1}")
    (tmp / "r.csv").write_text("\n".join(lines) + "\n")
    return tmp / "r.csv"


def test_a_planted_taste_is_found(tmp_path: Path) -> None:
    config = f"data: {{ratings: {planted(tmp_path)}}}\nmodel: {{num_features: 3}}\n"
    settings = ["train.epochs=400", "train.lr=0.02", "train.lambda_=0.1", "train.log_every=400"]
    model = trained(tmp_path, config, *settings)
    rated = model.rated(tmp_path / "run")
    for j in range(20):
        withheld = [(j + step) % 20 for step in range(6)]
        got = model.recommend(j, k=6, exclude=rated.items_of(j))["item"].to_list()
        assert set(got) == set(withheld)
        assert set(got[:3]) == {i for i in withheld if (i + j) % 2 == 0}, "the loved ones come first"
        others = [i for i in range(20) if (i + j) % 2 == 0]
        assert set(model.recommend(j, k=10)["item"]) == set(others), "own taste before the other"
    alike = model.similar_items(4, k=9)
    assert set(alike["item"]) == set(range(0, 20, 2)) - {4}
    folded = model.fold_in([0, 2, 1], [5.0, 5.0, 1.0])
    assert set(model.recommend(folded, k=8)["item"]) == set(range(4, 20, 2))


def test_similar_items_are_those_of_the_largest_cosine(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    X = model.factors.X.numpy()
    cosine = X @ X[5] / np.linalg.norm(X, axis=1) / np.linalg.norm(X[5])
    want = [i for i in np.argsort(-cosine).tolist() if i != 5][:6]
    got = model.similar_items(105, k=6)
    assert got["item"].to_list() == [100 + i for i in want]
    np.testing.assert_allclose(got["cosine"], cosine[want], rtol=1e-12)


def test_similar_users_are_those_of_the_largest_cosine(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    W = model.factors.W.numpy()
    cosine = W @ W[5] / np.linalg.norm(W, axis=1) / np.linalg.norm(W[5])
    often = model.arrays.user_counts >= 15
    assert 3 < often.sum() < 12
    want = [i for i in np.argsort(-cosine).tolist() if i != 5 and often[i]]
    got = model.similar_users("u0005", k=12, min_ratings=15)
    assert got["user"].to_list() == [f"u{i:04}" for i in want]
    np.testing.assert_allclose(got["cosine"], cosine[want], rtol=1e-12)
    model.arrays.user_counts[5] = 0
    with pytest.raises(RunError, match="user u0005 has no training ratings, so the model knows no weights"):
        replace(model).similar_users("u0005")


@pytest.fixture
def with_blanks(tmp_path: Path) -> Model:
    """Item 103 has no features, item 104 no training ratings."""
    model = made_up(tmp_path)
    model.factors.X[3] = 0
    counts = model.arrays.item_counts.copy()
    counts[4] = 0
    return replace(model, arrays=replace(model.arrays, item_counts=counts))


def test_items_with_few_ratings_can_be_left_out(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    often = set(model.items.raw.filter(pl.Series(model.item_counts.numpy() >= 25)))
    assert 0 < len(often) < 30
    assert set(model.recommend("u0000", k=30, min_ratings=25)["item"]) == often
    all_lists = pl.concat(model.recommend_all(30, users_at_once=5, min_ratings=25))
    assert set(all_lists["item"]) == often
    assert len(all_lists) == 12 * len(often)
    folded = model.fold_in([next(iter(often))], [4.0])
    assert set(model.recommend(folded, k=30, min_ratings=25)["item"]) == often - {next(iter(often))}
    with pytest.raises(DataError, match="min_ratings is -1; ask for a whole number, at least 0"):
        model.recommend("u0000", min_ratings=-1)


def test_items_without_features_are_like_nothing(with_blanks: Model) -> None:
    assert not {103, 104} & set(with_blanks.similar_items(105, k=30)["item"])
    for item in (103, 104):
        with pytest.raises(RunError, match=f"item {item} has no training ratings"):
            with_blanks.similar_items(item)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    with pytest.raises(DataError, match=r"the model has no user zoe; it knows 12 users, such as u0000"):
        model.recommend("zoe")
    with pytest.raises(DataError, match=r"the model has no item 7; it knows 30 items, such as 100"):
        model.similar_items(7)
    with pytest.raises(DataError, match="k is 0; ask for a whole number, at least 1"):
        model.recommend("u0000", k=0)


def test_k_beyond_the_items_gives_them_all(tmp_path: Path) -> None:
    model = made_up(tmp_path, dtype=torch.float32)
    assert len(model.recommend("u0000", k=99)) == 30
