"""Figures are those of the formulas, in any batches and on any ranks."""

from pathlib import Path

import numpy as np
import pytest

from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import DataError
from cofi_dist.model.evaluate import evaluate
from cofi_dist.model.held_out import HeldOut
from cofi_dist.ranking.metrics import METRICS
from cofi_dist.testing import run_ranks
from tests.support.models import EVERYONE, NUM_USERS, as_table, dense_scores, figures, judged


def test_errors_are_those_of_the_formula(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    found = evaluate(model.scorer, HeldOut.from_run(rated, "test"), None)
    test = rated.load(EVERYONE, "test")
    err = dense_scores(model).clip(0.5, 5.0)[test.user, test.item] - test.value
    users = [err[test.user == j] for j in np.unique(test.user)]
    assert (found.ratings, found.users) == (450, len(users))
    assert found.rmse == pytest.approx(np.sqrt(np.mean(err**2)), rel=1e-12)
    assert found.mae == pytest.approx(np.mean(np.abs(err)), rel=1e-12)
    assert found.rmse_by_user == pytest.approx(np.mean([np.sqrt(np.mean(e**2)) for e in users]), rel=1e-12)
    assert found.mae_by_user == pytest.approx(np.mean([np.mean(np.abs(e)) for e in users]), rel=1e-12)
    assert found.ranking is None


@pytest.mark.parametrize("at_once", [1, 7, 40])
def test_batches_of_any_size_give_the_same_figures(at_once: int, tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    held_out = HeldOut.from_run(rated, "test")
    want = figures(evaluate(model.scorer, held_out, rated, k=5))
    got = figures(evaluate(model.scorer, held_out, rated, k=5, users_at_once=at_once))
    assert got == pytest.approx(want, rel=1e-12)


def on_a_rank(comm: Comm, tmp: Path, at_once: int) -> dict[str, float]:
    mine = tmp / f"{comm.world_size}-{comm.rank}"
    mine.mkdir()
    model, rated = judged(mine)
    return figures(
        evaluate(model.scorer, HeldOut.from_run(rated, "test"), rated, k=5, comm=comm, users_at_once=at_once)
    )


@pytest.mark.parametrize("at_once", [6, 25], ids=["seven batches", "an idle rank"])
def test_one_and_three_ranks_give_the_same_figures(at_once: int, tmp_path: Path) -> None:
    (want,) = run_ranks(1, on_a_rank, tmp_path, at_once, tmp=tmp_path)
    got = run_ranks(3, on_a_rank, tmp_path, at_once, tmp=tmp_path)
    for each in got:
        assert each == want, "to the last bit"
    assert want["users"] == NUM_USERS


def test_ratings_that_were_trained_on_are_counted_and_not_ranked(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    train = rated.load(EVERYONE, "train")
    found = model.evaluate(as_table(model, train.user, train.item, train.value), rated)
    assert found.ratings_seen_in_training == found.ratings == 450
    assert found.ranking is not None
    assert (found.ranking.users, found.ranking.users_without_relevant) == (0, NUM_USERS)


def test_k_is_positive(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    with pytest.raises(DataError, match="k is 0"):
        evaluate(model.scorer, HeldOut.from_run(rated, "test"), rated, k=0)


def test_the_file_of_figures_keeps_its_keys(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    written = evaluate(model.scorer, HeldOut.from_run(rated, "test"), rated).to_json()
    assert list(written) == [
        *("ratings", "users", "rmse", "mae", "rmse_by_user", "mae_by_user", "unseen_users", "unseen_items"),
        *("unseen_ratings", "trained_ratings", "ranking"),
    ]
    assert list(written["ranking"]) == ["k", "relevant", "users", "users_without", *METRICS]
