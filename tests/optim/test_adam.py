"""Adam: against torch's own, resumed, and played back."""

from collections.abc import Callable
from unittest import mock

import pytest
import torch

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.factors import Factors
from cofi_dist.optim import adam as module
from cofi_dist.optim.adam import Adam
from cofi_dist.optim.base import run_step
from tests.support.problems import close, gradients_of, random_factors
from tests.support.trainers import make_cost

REGULARISER = Regulariser(0.7, 0.2)


def make_adam(factors: Factors, *, fused: bool, record: bool = False) -> Adam:
    return Adam(make_cost("dense"), factors, REGULARISER, lr=0.01, fused=fused, record=record)


def drive(adam: Adam, steps: int) -> None:
    for _ in range(steps):
        run_step(adam.prepare_step(), SoloComm())


def by_torch(factors: Factors, steps: int) -> None:
    """The same steps by `torch.optim.Adam`, on the gradients of the whole of J."""
    optimizer, cost = torch.optim.Adam(factors.tensors, lr=0.01), make_cost("dense")
    for _ in range(steps):
        gradients = gradients_of(cost(factors, with_cost=False), REGULARISER, factors)
        for name, factor in factors.by_name.items():
            factor.grad = gradients[name]
        optimizer.step()


@pytest.mark.parametrize("fused", [False, True])
def test_steps_are_those_of_torchs_adam(fused: bool) -> None:
    factors, want = (random_factors(8, 6, 3, item_bias=True) for _ in range(2))
    drive(make_adam(factors, fused=fused), 20)
    by_torch(want, 20)
    for ours, theirs in zip(factors.tensors, want.tensors, strict=True):
        if fused:
            close(ours, theirs, 1e-12)
        else:
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("fused", [False, True])
def test_it_goes_on_from_its_state_bit_for_bit(fused: bool) -> None:
    whole, factors, resumed = (random_factors(8, 6, 3, item_bias=True) for _ in range(3))
    drive(make_adam(whole, fused=fused), 5)
    first, second = make_adam(factors, fused=fused), make_adam(resumed, fused=fused)
    drive(first, 3)
    assert first.scalars is None, "the number of steps is the run's"
    second.restore_scalars(3, None)
    for name, factor in factors.by_name.items():
        resumed.by_name[name].copy_(factor)
        for part, rows in first.row_tensors(name).items():
            second.row_tensors(name)[part].copy_(rows)
    drive(second, 2)
    assert all(torch.equal(a, b) for a, b in zip(resumed.tensors, whole.tensors, strict=True))


class Played:
    """Stands for a CUDA graph: it does the work, and counts how often."""

    calls = 0

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work

    def __call__(self) -> None:
        Played.calls += 1
        self._work()


def test_steps_are_played_back_unless_their_cost_is_asked_for() -> None:
    factors, want = (random_factors(8, 6, 3, item_bias=True) for _ in range(2))
    drive(make_adam(want, fused=True), 3)
    with mock.patch.object(module, "GraphedCallable", Played):
        adam = make_adam(factors, fused=True, record=True)
    drive(adam, 1)
    costly = adam.prepare_step(with_cost=True)
    assert costly.half_squared_error is not None
    run_step(costly, SoloComm())
    drive(adam, 1)
    assert Played.calls == 2
    assert all(torch.equal(a, b) for a, b in zip(factors.tensors, want.tensors, strict=True))
