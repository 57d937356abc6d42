"""The start is the notebook's draw, whatever the world size and dtype."""

import math

import pytest
import torch
from torch import nn

from cofi_dist.factors import Factors
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.training import draw as draws
from cofi_dist.training.draw import draw_factors

CPU = torch.device("cpu")


def draw(
    users: UserRange, items: UserRange | None = None, dtype: torch.dtype = torch.float32, seed: int = 7
) -> Factors:
    return draw_factors(
        11, 9, 4, seed=seed, users=users, items=items, device=CPU, dtype=dtype, item_bias=True
    )


def test_the_draw_is_the_notebooks() -> None:
    torch.manual_seed(7)
    X, W, b = torch.empty(11, 4), torch.empty(9, 4), torch.empty(1, 9)
    nn.init.kaiming_uniform_(X, a=math.sqrt(5))
    nn.init.kaiming_uniform_(W, a=math.sqrt(5))
    nn.init.uniform_(b, -0.5, 0.5)
    ours = draw(UserRange(0, 9))
    assert torch.equal(ours.X, X)
    assert torch.equal(ours.W, W)
    assert torch.equal(ours.b, b)


def test_the_draw_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    draw(UserRange(0, 9))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("entries_at_once", [1, 8, 12, 2**26])
def test_any_range_is_a_cut_of_the_whole(entries_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw(UserRange(0, 9))
    monkeypatch.setattr(draws, "DRAW_AT_ONCE", entries_at_once)
    for users in (UserRange(0, 9), UserRange(0, 2), UserRange(2, 7), UserRange(7, 9), UserRange(4, 4)):
        part = draw(users)
        assert torch.equal(part.X, whole.X)
        assert torch.equal(part.W, whole.W[users.start : users.stop])
        assert torch.equal(part.b, whole.b[:, users.start : users.stop])
    for items in (UserRange(0, 11), UserRange(3, 8), UserRange(5, 5)):
        part = draw(UserRange(2, 7), items)
        assert torch.equal(part.X, whole.X[items.start : items.stop])
        assert torch.equal(part.W, whole.W[2:7])
        assert torch.equal(part.b, whole.b[:, 2:7])
        assert part.c is not None
        assert part.c.shape == (1, len(items))


def test_float64_starts_from_the_same_numbers() -> None:
    wide, narrow = draw(UserRange(0, 9), dtype=torch.float64), draw(UserRange(0, 9))
    assert wide.W.dtype == torch.float64
    assert torch.equal(wide.W.float(), narrow.W)


def test_seeds_differ() -> None:
    assert not torch.equal(draw(UserRange(0, 9), seed=8).X, draw(UserRange(0, 9)).X)
