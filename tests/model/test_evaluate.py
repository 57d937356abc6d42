"""Figures are those of the formulas, in any batches and on any ranks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import DataError
from cofi_dist.model.evaluate import MAX_USERS_LOADED, _batches, evaluate
from cofi_dist.model.held_out import HeldOut
from cofi_dist.ranking.bootstrap import poisson_weights
from cofi_dist.ranking.metrics import METRICS
from cofi_dist.ranking.users import MAX_BATCH_LISTED, is_sampled
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


@pytest.mark.parametrize(("ranks", "at_once"), [(2, 6), (5, 25)], ids=["seven batches", "idle ranks"])
def test_any_number_of_ranks_gives_the_same_figures(ranks: int, at_once: int, tmp_path: Path) -> None:
    (want,) = run_ranks(1, on_a_rank, tmp_path, at_once, tmp=tmp_path)
    got = run_ranks(ranks, on_a_rank, tmp_path, at_once, tmp=tmp_path)
    for each in got:
        assert each == want, "to the last bit"
    assert want["users"] == NUM_USERS


@pytest.mark.parametrize("threads", [2, 5])
def test_any_number_of_threads_gives_the_same_figures(
    threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rated = judged(tmp_path)
    held_out = HeldOut.from_run(rated, "test")
    found = []
    for number in (1, threads):
        monkeypatch.setattr("cofi_dist.model.evaluate.num_threads", lambda number=number: number)
        found.append(evaluate(model.scorer, held_out, rated, k=5, users_at_once=3))
    assert found[0] == found[1], "to the last bit"


def test_batches_are_cut_for_many_ranks_and_stay_small() -> None:
    sizes = {users: len(_batches(users, 10, None, None)[0]) for users in (100, 900, 70_000, 10**7)}
    assert sizes == {100: 100, 900: 128, 70_000: 1024, 10**7: 1024}
    assert len(_batches(10**6, 10**5, None, None)[0]) * 10**5 <= MAX_BATCH_LISTED
    assert len(_batches(10**6, 10, None, 1000)[0]) == MAX_USERS_LOADED


def test_intervals_are_those_of_samples_of_the_users(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    held_out = HeldOut.from_run(rated, "test")
    found = evaluate(model.scorer, held_out, rated)
    test = rated.load(EVERYONE, "test")
    err = dense_scores(model).clip(0.5, 5.0)[test.user, test.item] - test.value
    replicates = []
    for weights in poisson_weights(np.arange(NUM_USERS)).T:
        drawn = np.repeat(err, weights[test.user].astype(int))
        replicates.append(np.sqrt(np.mean(drawn**2)))
    assert found.intervals["rmse"] == pytest.approx(np.quantile(replicates, [0.025, 0.975]), rel=1e-5)
    assert found.ranking is not None
    for name, (low, high) in (found.intervals | found.ranking.intervals).items():
        figure = getattr(found if name in found.intervals else found.ranking, name)
        assert low <= figure <= high, name
        assert low < high or figure == 1, name


def test_popularity_and_spread_are_those_of_the_lists(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    ranking = evaluate(model.scorer, HeldOut.from_run(rated, "test"), rated, k=4).ranking
    assert ranking is not None
    scores, train = dense_scores(model), rated.load(EVERYONE, "train")
    scores[train.user, train.item] = -np.inf
    lists = np.argsort(-scores, axis=1)[:, :4]
    assert ranking.users == NUM_USERS
    assert ranking.popularity == pytest.approx(model.item_counts.numpy()[lists].mean(), rel=1e-12)
    assert ranking.coverage == pytest.approx(len(np.unique(lists)) / len(model.items), rel=1e-12)
    assert ranking.gini is not None
    assert 0 < ranking.gini < 1


@pytest.mark.parametrize("at_once", [None, 7])
def test_a_sample_of_the_users_is_judged(at_once: int | None, tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    chosen = np.flatnonzero(is_sampled(np.arange(NUM_USERS), NUM_USERS, 15))
    test = rated.load(EVERYONE, "test")
    mine = np.isin(test.user, chosen)
    everyones = as_table(model, test.user, test.item, test.value)
    want = model.evaluate(as_table(model, test.user[mine], test.item[mine], test.value[mine]), rated)
    got = evaluate(model.scorer, HeldOut.from_run(rated, "test"), rated, sample=15, users_at_once=at_once)
    assert got.sample == 15
    assert 5 < got.users == len(chosen) < 30
    assert figures(replace(got, sample=None)) == pytest.approx(figures(want), rel=1e-12)
    assert figures(model.evaluate(everyones, rated, users=15)) == pytest.approx(figures(got), rel=1e-12)


def test_a_model_of_events_has_no_errors(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    held_out = HeldOut.from_run(rated, "test")
    found = evaluate(replace(model.scorer, is_implicit=True), held_out, rated)
    assert (found.rmse, found.mae, found.rmse_by_user, found.mae_by_user) == (None,) * 4
    assert found.intervals == {}
    assert found.ranking == evaluate(model.scorer, held_out, rated).ranking
    assert repr(found).startswith("Evaluation(450 events by 40 users; k 10: precision 0.")


def test_one_user_tells_nothing_of_others(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    found = model.evaluate(as_table(model, np.array([3]), np.array([7]), np.array([4.0])), rated)
    assert found.intervals == {}


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
        *("unseen_ratings", "trained_ratings", "sample", "intervals", "ranking"),
    ]
    assert list(written["ranking"]) == [
        *("k", "relevant", "users", "users_without", *METRICS),
        *("popularity", "coverage", "gini", "intervals"),
    ]
    assert list(written["intervals"]) == ["rmse", "mae", "rmse_by_user", "mae_by_user"]
    assert list(written["ranking"]["intervals"]) == [*METRICS, "popularity"]
