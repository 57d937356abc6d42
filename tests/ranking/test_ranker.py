"""Lists are those of scoring all items in float64, one product after the other, and sorting them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cofi_dist.ranking import filters, ranker
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.ranker import Ranker

Array = NDArray[np.float64]


def scores_of(X: Array, offset: Array, w: Array, b: Array) -> Array:
    """The score as it is defined: sums in the order of the features, each rounded."""
    scores = np.zeros((len(w), len(X)))
    for f in range(X.shape[1]):
        scores += w[:, f, None] * X[:, f]
    return scores + b[:, None] + offset


def lists_reference(scores: Array, k: int) -> list[list[tuple[int, float]]]:
    """Item and score of each user's list, by a plain sort of the rounded scores."""
    return [
        [
            (int(i), float(row[i]))
            for i in np.argsort(-np.round(row, 10), kind="stable")[:k]
            if row[i] > -np.inf
        ]
        for row in scores
    ]


def planted(seed: int, num_users: int, num_items: int, K: int) -> tuple[Array, Array, Array, Array]:
    """Factors with equal items, and items that differ by less than float32 or the rounding can tell."""
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(num_items, K)), rng.normal(size=(num_users, K))
    offset, b = rng.normal(size=num_items), rng.normal(size=num_users)
    copied = rng.integers(0, num_items, num_items // 2)
    to = rng.permutation(num_items)[: num_items // 2]
    X[to], offset[to] = X[copied], offset[copied]
    near = rng.choice([0.0, 1e-12, 1e-11, 5e-11, 1e-10, 1e-9, 1e-8, 1e-6], num_items // 2)
    offset[to] += near * rng.choice([-1, 1], num_items // 2)
    return X, offset, w, b


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranker, "MANY_SCORES", 0)


def own_items(seed: int, num_users: int, num_items: int, per_user: int) -> UserItemPairs:
    """Some items of each user, some twice, in no order."""
    rng = np.random.default_rng(seed)
    count = num_users * per_user
    return UserItemPairs(rng.integers(0, num_users, count), rng.integers(0, num_items, count))


@pytest.fixture(params=["plain", "compiled", "cpu:0", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each filter; `cpu:0` is the CPU as a device of torch, where the filter for CUDA runs too."""
    if request.param == "compiled":
        monkeypatch.setattr(ranker, "MANY_SCORES", 0)
    return "cpu" if request.param in {"plain", "compiled"} else str(request.param)


@pytest.mark.parametrize("k", [1, 10, 100, 500])
def test_lists_are_those_of_a_plain_sort_to_the_last_bit(k: int, device: str) -> None:
    X, offset, w, b = planted(k, 60, 300, 7)
    own = own_items(k, 60, 300, 20)
    left_out = np.random.default_rng(k).random(300) < 0.1
    scores = scores_of(X, offset, w, b)
    scores[own.user, own.item] = -np.inf
    scores[:, left_out] = -np.inf
    best = Ranker(X, offset, left_out, device).best(w, b, k, own)
    for j, want in enumerate(lists_reference(scores, k)):
        mine = best.user == j
        assert list(zip(best.item[mine].tolist(), best.score[mine].tolist(), strict=True)) == want
        assert best.rank[mine].tolist() == list(range(1, len(want) + 1))


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan, 1e200, 1e-200])
def test_numbers_beyond_a_filter_are_ranked_too(odd: float, device: str) -> None:
    X, offset, w, b = planted(1, 6, 40, 3)
    X[3], w[2] = odd, odd
    with np.errstate(all="ignore"):
        best = Ranker(X, offset, device=device).best(w, b, 5, UserItemPairs.none())
        scores = scores_of(X, offset, w, b)
    scores[np.isnan(scores)] = -np.inf
    for j, want in enumerate(lists_reference(scores, 5)):
        assert best.item[best.user == j].tolist() == [i for i, _ in want]


def test_nobody_and_nothing_give_no_lists() -> None:
    X, offset, w, b = planted(1, 2, 10, 3)
    nothing = np.ones(10, np.bool_)
    assert not len(Ranker(X, offset).best(w[:0], b[:0], 3, UserItemPairs.none()).item)
    assert not len(Ranker(X, offset, nothing).best(w, b, 3, UserItemPairs.none()).item)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("users_at_once", [1, 17, 4096])
def test_blocks_and_threads_of_any_number_give_the_same_bits(
    users_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "USERS_AT_ONCE", users_at_once)
    X, offset, w, b = planted(5, 1000, 700, 20)
    own = own_items(5, 1000, 700, 30)
    scores = scores_of(X, offset, w, b)
    scores[own.user, own.item] = -np.inf
    want = lists_reference(scores, 10)
    for threads in (1, 2):
        monkeypatch.setattr(ranker, "num_threads", lambda threads=threads: threads)
        best = Ranker(X, offset).best(w, b, 10, own)
        assert best.item.tolist() == [i for row in want for i, _ in row]
        assert best.score.tolist() == [score for row in want for _, score in row]


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("equal", [41, 42, 43, 200, 1000])
def test_more_equal_items_than_a_buffer_holds_are_in_their_order(equal: int) -> None:
    X, w = np.zeros((1000, 3)), np.ones((8, 3))
    X[1000 - equal :] = 1.0
    w[::2] = 0.0  # to whom all items are equal
    own = own_items(1, 8, 1000, 500)
    best = Ranker(X, np.zeros(1000)).best(w, np.zeros(8), 10, own)
    scores = scores_of(X, np.zeros(1000), w, np.zeros(8))
    scores[own.user, own.item] = -np.inf
    for j, want in enumerate(lists_reference(scores, 10)):
        assert best.item[best.user == j].tolist() == [i for i, _ in want]
