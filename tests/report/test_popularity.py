"""Errors by popularity against the same sums, rating by rating."""

from pathlib import Path

import numpy as np
import pytest

from cofi_dist.errors import CofiError
from cofi_dist.report import popularity
from cofi_dist.report.popularity import bin_name, bins_of, error_by_popularity
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
    got = error_by_popularity(tmp_path / "run")
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
        assert got.rmse_by_bin[k] == pytest.approx(np.sqrt(np.mean(np.square(found))), rel=1e-12)
    every = np.concatenate(list(errors.values()))
    assert (got.rmse, got.mae) == pytest.approx(
        (np.sqrt(np.mean(every**2)), np.mean(np.abs(every))), rel=1e-12
    )


@pytest.mark.parametrize(
    ("overrides", "part"),
    [(("data.test=null",), "validation"), (("data.test=null", "data.validation=null"), "train")],
)
def test_without_a_test_part_the_next_best_is_taken(
    overrides: tuple[str, ...], part: str, tmp_path: Path
) -> None:
    trained(tmp_path, CONFIG, *overrides)
    assert error_by_popularity(tmp_path / "run").part == part


def test_a_bin_without_ratings_has_no_error() -> None:
    found = popularity.ErrorByPopularity("test", np.array([0, 2]), np.array([0.0, 8.0]), np.array([0.0, 4.0]))
    assert np.isnan(found.rmse_by_bin[0])
    assert found.rmse_by_bin[1] == found.rmse == found.mae == 2.0


def test_without_a_model_nothing_is_judged(tmp_path: Path) -> None:
    with pytest.raises(CofiError, match="no such file"):
        error_by_popularity(tmp_path)
