"""Errors by popularity against the same sums, rating by rating."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cofi_dist.errors import CofiError
from cofi_dist.model.scoring import user_batches
from cofi_dist.report import popularity
from cofi_dist.report.popularity import bin_name, bins_of, by_popularity
from cofi_dist.sharding.ranges import UserRange
from tests.support.models import trained

CONFIG = """
data: {synthetic: {num_users: 40, num_items: 60, num_ratings: 900}, test: {}, validation: {}}
model: {num_features: 4}
train: {epochs: 30, log_every: 10, lr: 0.02}
"""


def test_bins_are_powers_of_two_and_their_names_say_so() -> None:
    counts = np.arange(5000.0)
    for count, found in zip(counts, bins_of(counts), strict=True):
        low, _, high = bin_name(int(found)).replace("1k", "1024").replace("2k", "2048").partition("-")
        if "k" not in low + high:
            assert int(low) <= count <= int(high or low)
    assert [bin_name(k) for k in (0, 1, 2, 3, 10, 11, 17)] == (
        ["0", "1", "2-3", "4-7", "512-1k", "1k-2k", "64k-128k"]
    )


@pytest.mark.parametrize("block", [50, 2**20], ids=["many blocks", "one block"])
def test_errors_are_those_of_each_rating(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained(tmp_path, CONFIG)
    monkeypatch.setattr(popularity, "BATCH_RATINGS", block)
    got = by_popularity(tmp_path / "run")
    everyone = UserRange(0, 40)
    train, test = (model.rated(tmp_path / "run").load(everyone, part) for part in ("train", "test"))
    errors: dict[int, list[float]] = {}
    for user, item, value in zip(test.user, test.item, test.value, strict=True):
        seen = int((train.item == item).sum())
        (predicted,) = model.predict([int(user)], [int(item)])
        errors.setdefault(seen.bit_length(), []).append(predicted - value)
    assert got.part == "test"
    assert got.count.tolist() == [len(errors.get(k, [])) for k in range(max(errors) + 1)]
    for k, found in errors.items():
        assert got.by_bin[k] == pytest.approx(np.sqrt(np.mean(np.square(found))), rel=1e-12)
    every = np.concatenate(list(errors.values()))
    want = {"RMSE": np.sqrt(np.mean(every**2)), "MAE": np.mean(np.abs(every))}
    assert got.figures == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("overrides", "part"),
    [(("data.test=null",), "validation"), (("data.test=null", "data.validation=null"), "train")],
)
def test_without_a_test_part_the_next_best_is_taken(
    overrides: tuple[str, ...], part: str, tmp_path: Path
) -> None:
    trained(tmp_path, CONFIG, *overrides)
    assert by_popularity(tmp_path / "run").part == part


def test_a_bin_without_ratings_has_no_error() -> None:
    found = popularity.ErrorByPopularity("test", np.array([0, 2]), np.array([0.0, 8.0]), np.array([0.0, 4.0]))
    assert np.isnan(found.by_bin[0])
    assert found.by_bin[1] == found.overall == 2.0
    assert found.figures == {"RMSE": 2.0, "MAE": 2.0}


EVENTS = """
data:
  synthetic: {num_users: 40, num_items: 60, num_ratings: 900}
  feedback: implicit
  test: {fraction: 0.3}
model: {num_features: 4}
train: {optimizer: als, epochs: 10, log_every: 10}
validation: {k: 5}
"""


@pytest.mark.parametrize("users_at_once", [7, 256])
def test_the_share_of_events_that_lists_find_is_that_of_brute_force(
    users_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained(tmp_path, EVENTS)
    rated = model.rated(tmp_path / "run")
    small = partial(user_batches, users_at_once=users_at_once)
    monkeypatch.setattr(popularity, "user_batches", small)
    got = by_popularity(tmp_path / "run")
    assert isinstance(got, popularity.FoundByPopularity)
    assert (got.part, got.k, got.title) == ("test", 5, "Found in lists of 5")
    is_found: dict[int, list[bool]] = {}
    for number in range(40):
        one = UserRange(number, number + 1)
        training, held_out = rated.load(one).item, rated.load(one, "test").item
        best = model.recommend(number, 5, exclude=training)["item"].to_list()
        for item in held_out:
            is_found.setdefault(int(model.item_counts[item]).bit_length(), []).append(item in best)
    assert got.count.tolist() == [len(is_found.get(k, [])) for k in range(max(is_found) + 1)]
    assert got.found.tolist() == [sum(is_found.get(k, [])) for k in range(max(is_found) + 1)]
    assert 0 < got.found.sum() < got.count.sum()
    assert got.overall == pytest.approx(got.found.sum() / got.count.sum())


def test_without_held_out_events_nothing_can_be_found(tmp_path: Path) -> None:
    trained(tmp_path, EVENTS, "data.test=null")
    with pytest.raises(CofiError, match="run: no events were held out that lists could find"):
        by_popularity(tmp_path / "run")


def test_without_a_model_nothing_is_judged(tmp_path: Path) -> None:
    with pytest.raises(CofiError, match="no such file"):
        by_popularity(tmp_path)
