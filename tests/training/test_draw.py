"""The start is the notebook's draw, or the counter's, whatever the number of ranks and the dtype."""

import math
from collections.abc import Sequence

import numba
import pytest
import torch
from scipy import stats
from torch import nn

from cofi_dist.errors import ConfigError
from cofi_dist.factors import Factors
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.training import draw as draws
from cofi_dist.training.draw import draw_factors

CPU = torch.device("cpu")


ALL = UserRange(0, 9)
both_draws = pytest.mark.parametrize("by_counter", [False, True], ids=["notebook", "counter"])


def draw(
    users: UserRange = ALL,
    items: Sequence[UserRange] | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 7,
    *,
    by_counter: bool = False,
) -> Factors:
    given = {"device": CPU, "dtype": dtype, "item_bias": True, "by_counter": by_counter}
    return draw_factors(11, 9, 4, seed=seed, users=users, items=items, **given)  # type: ignore[arg-type]


def test_the_draw_is_the_notebooks() -> None:
    torch.manual_seed(7)
    X, W, b = torch.empty(11, 4), torch.empty(9, 4), torch.empty(1, 9)
    nn.init.kaiming_uniform_(X, a=math.sqrt(5))
    nn.init.kaiming_uniform_(W, a=math.sqrt(5))
    nn.init.uniform_(b, -0.5, 0.5)
    ours = draw(ALL)
    assert torch.equal(ours.X, X)
    assert torch.equal(ours.W, W)
    assert torch.equal(ours.b, b)


@both_draws
def test_the_draw_leaves_the_global_generator_alone(by_counter: bool) -> None:
    before = torch.get_rng_state()
    draw(by_counter=by_counter)
    assert torch.equal(torch.get_rng_state(), before)


@both_draws
@pytest.mark.parametrize("entries_at_once", [1, 8, 12, 2**26])
def test_any_range_is_a_cut_of_the_whole(
    entries_at_once: int, by_counter: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = draw(by_counter=by_counter)
    monkeypatch.setattr(draws, "DRAW_AT_ONCE", entries_at_once)
    monkeypatch.setattr(draws, "COUNTED_AT_ONCE", entries_at_once)
    monkeypatch.setattr(draws, "num_threads", lambda: 3)
    for users in (UserRange(0, 9), UserRange(0, 2), UserRange(2, 7), UserRange(7, 9), UserRange(4, 4)):
        part = draw(users, by_counter=by_counter)
        assert torch.equal(part.X, whole.X)
        assert torch.equal(part.W, whole.W[users.start : users.stop])
        assert torch.equal(part.b, whole.b[:, users.start : users.stop])
    for cuts in ([(0, 11)], [(3, 8)], [(5, 5)], [(0, 2), (4, 4), (6, 7), (9, 11)]):
        items = [UserRange(*cut) for cut in cuts]
        part = draw(UserRange(2, 7), items, by_counter=by_counter)
        assert torch.equal(part.X, torch.cat([whole.X[start:stop] for start, stop in cuts]))
        assert torch.equal(part.W, whole.W[2:7])
        assert torch.equal(part.b, whole.b[:, 2:7])
        assert part.c is not None
        assert part.c.shape == (1, sum(map(len, items)))


@both_draws
def test_float32_is_the_rounded_float64(by_counter: bool) -> None:
    wide, narrow = (draw(dtype=dtype, by_counter=by_counter) for dtype in (torch.float64, torch.float32))
    for name, factor in narrow.by_name.items():
        assert wide.by_name[name].dtype == torch.float64
        assert torch.equal(wide.by_name[name].float(), factor)


@both_draws
def test_seeds_differ(by_counter: bool) -> None:
    one, other = (draw(seed=seed, by_counter=by_counter).features() for seed in (7, 8))
    for name in one:
        assert not (one[name] == other[name]).any()


def test_both_draws_are_of_one_distribution() -> None:
    """X, W and b are uniform within 1 / sqrt(K), and c is 0."""
    size, everyone = 40_000, UserRange(0, 40_000)
    for by_counter in (False, True):
        given = {"device": CPU, "dtype": torch.float32, "item_bias": True, "by_counter": by_counter}
        drawn = draw_factors(size, size, 6, seed=1, users=everyone, **given)  # type: ignore[arg-type]
        bound = 1 / math.sqrt(6)
        for factor in (drawn.X, drawn.W, drawn.b):
            assert stats.kstest(factor.ravel().numpy(), "uniform", (-bound, 2 * bound)).pvalue > 1e-3
        assert drawn.c is not None
        assert not drawn.c.any()


def test_the_counters_factors_have_nothing_in_common() -> None:
    drawn = draw(by_counter=True)
    numbers = torch.cat([drawn.X.ravel(), drawn.W.ravel(), drawn.b.ravel()])
    assert len(set(numbers.tolist())) == len(numbers)


@both_draws
def test_there_may_be_no_user_biases(by_counter: bool) -> None:
    given = {"device": CPU, "dtype": torch.float32, "user_bias": False, "by_counter": by_counter}
    without = draw_factors(11, 9, 4, seed=7, users=ALL, **given)  # type: ignore[arg-type]
    assert not without.b.any()
    assert torch.equal(without.W, draw(by_counter=by_counter).W)


def test_a_forbidden_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    with pytest.raises(ConfigError, match="NUMBA_DISABLE_JIT"):
        draw(by_counter=True)
