"""The same bits on any number of ranks and threads, and after being gone on with on others."""

from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.config import load_config
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.term import ErrorTerm
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.distributed.ordered_sum import TreeReducer
from cofi_dist.errors import ConfigError
from cofi_dist.factors import Factors
from cofi_dist.kernels.block_sums import BlockSums
from cofi_dist.kernels.cpu import schedule
from cofi_dist.optim.adam import Adam
from cofi_dist.optim.base import run_step
from cofi_dist.report.compare import compare
from cofi_dist.run.train import train
from cofi_dist.sharding.partition import UserPartition
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.sharding.reduction_tree import ReductionBlocks
from cofi_dist.testing import run_ranks
from tests.support.problems import random_factors, random_ratings, shard_of, slice_factors, sparse_cost

CONFIG = """
data: {synthetic: {num_users: 90, num_items: 700, num_ratings: 5000}, validation: {}}
model: {num_features: 13, item_bias: true}
train: {epochs: 12, log_every: 3, lr: 0.01, lambda_power: 0.5, lambda_b: 0.3, reduction: invariant}
validation: {every: 5}
checkpoint: {every: 4, resume: auto}
"""
OPTIMIZERS = [[], ["train.optimizer=als"]]


def _train(comm: Comm, file: Path, overrides: list[str], threads: int) -> None:
    torch.set_num_threads(threads)
    train(file, overrides, comm, quiet=True)


def run(tmp: Path, name: str, ranks: int, *overrides: str, threads: int = 1) -> Path:
    file, run_dir = tmp / "c.yaml", tmp / name
    file.write_text(CONFIG)
    run_ranks(ranks, _train, file, [*overrides, f"run_dir={run_dir}"], threads, tmp=tmp, seconds=120)
    return run_dir


def assert_same_bits(first: Path, second: Path) -> None:
    found = compare(first, second)
    assert {"cost", "validation_rmse", "X", "W", "b", "c"} <= {each.name for each in found}
    assert [each for each in found if not each.bit_identical] == []


@pytest.mark.parametrize(("dtype", "init"), [("float32", "counter"), ("float64", "notebook")])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["adam", "als"])
def test_any_number_of_ranks_and_threads_gives_the_same_bits(
    optimizer: list[str], dtype: str, init: str, tmp_path: Path
) -> None:
    given = [*optimizer, f"train.dtype={dtype}", f"train.init={init}"]
    one = run(tmp_path, "one", 1, *given)
    assert_same_bits(run(tmp_path, "threads", 1, *given, threads=2), one)
    for ranks in (2, 3, 5, 8) if dtype == "float32" else (3, 8):
        assert_same_bits(run(tmp_path, f"on{ranks}", ranks, *given), one)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["adam", "als"])
def test_a_run_that_is_moved_from_ranks_to_ranks_keeps_its_bits(optimizer: list[str], tmp_path: Path) -> None:
    whole = run(tmp_path, "whole", 2, *optimizer)
    for ranks, epochs in ((4, 4), (3, 8), (1, 12)):
        moved = run(tmp_path, "moved", ranks, *optimizer, f"train.epochs={epochs}")
    assert_same_bits(moved, whole)


def test_fast_sums_are_not_so(tmp_path: Path) -> None:
    one, three = (run(tmp_path, f"fast{n}", n, "train.reduction=fast") for n in (1, 3))
    assert not all(each.bit_identical for each in compare(one, three)), "this test could not tell"


def test_more_blocks_are_other_bits_and_more_ranks(tmp_path: Path) -> None:
    few, many = (run(tmp_path, f"b{blocks}", 1, f"train.blocks={blocks}") for blocks in (4, 32))
    assert not all(each.bit_identical for each in compare(few, many))
    assert_same_bits(run(tmp_path, "b32on2", 2, "train.blocks=32"), many)


def test_too_few_blocks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"train\.blocks: 2 are too few for 3 ranks"):
        run(tmp_path, "run", 3, "train.blocks=2")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.blocks=12", "12 is not a power of two"),
        ("train.cost=dense", "reduction: invariant is for the sparse cost"),
        ("train={reduction: invariant, optimizer: als, solver: exact}", "invariant is for solver: cg"),
        ("train={blocks: 8}", "blocks belong to reduction: invariant"),
    ],
)
def test_what_does_not_go_together_is_refused(override: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path / "c.yaml", [override, f"run_dir={tmp_path / 'run'}"])


class _Paper:
    """What ranks would send, worked out in one process."""

    rank = 0

    def __init__(self, world_size: int, partials: list[torch.Tensor]) -> None:
        self.world_size, self._partials = world_size, partials

    def all_to_all(self, parts: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        # every rank adds up a slice; here the first adds up all of them, one after the other
        size = parts.shape[2]
        return torch.cat([self._slice(partial, size) for partial in self._partials])

    def _slice(self, partial: torch.Tensor, size: int) -> torch.Tensor:
        flat = partial.reshape(len(partial), -1)
        padded = torch.nn.functional.pad(flat, (0, size * self.world_size - flat.shape[1]))
        return padded[:, :size].reshape(-1)

    def all_gather(self, part: torch.Tensor, whole: torch.Tensor) -> None:
        whole[: len(part)] = part


@given(st.integers(0, 4), st.data())
def test_any_cut_of_the_users_has_the_same_sum(power: int, data: st.DataObject) -> None:
    """The loops' partial sums, put together: on any number of ranks the bits of one process."""
    num_users, num_items, blocks = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 9)), 2**power
    ratings = random_ratings(num_users, num_items, data.draw(st.integers(0, num_users * num_items)))
    counts = np.bincount(ratings.user, minlength=num_users)
    factors = random_factors(num_items, num_users, 3, torch.float32, item_bias=True)
    ranks, tile = data.draw(st.integers(1, blocks)), data.draw(st.sampled_from([1, 5, 30, 2**20]))

    def partials(world_size: int) -> tuple[UserPartition, list[torch.Tensor]]:
        spread, found = UserPartition.balanced(counts, world_size, blocks), []
        for rank, users in enumerate(spread.ranges):
            cut = shard_of(ratings, users, num_items)
            shard = UserShard(users, num_items, cut.ratings, spread.local_blocks(rank))
            with mock.patch.object(schedule, "TILE_RATINGS", tile):
                cost = sparse_cost(shard, torch.float32)
            own = slice_factors(factors, users)
            cost(own, with_cost=True).dX.fill_(torch.nan)  # the next call takes the same memory
            found.append(cost(own, with_cost=True).dX)
        return spread, found

    (_, (whole,)), (spread, parts) = partials(1), partials(ranks)
    assert len(whole) == 1
    size = -(-whole[0].numel() // ranks)
    TreeReducer(_Paper(ranks, parts), spread.subtrees).all_reduce_(parts[0])  # type: ignore[arg-type]
    assert torch.equal(parts[0][0].reshape(-1)[:size], whole[0].reshape(-1)[:size])


class _Given:
    """A cost whose gradient is given."""

    sums = BlockSums(ReductionBlocks.single(40))

    def __init__(self, dW: torch.Tensor) -> None:
        self._dW = dW

    def __call__(self, factors: Factors, *, with_cost: bool) -> ErrorTerm:
        dX, db = torch.zeros_like(factors.X)[None], torch.zeros_like(factors.b)
        return ErrorTerm(None, dX, lambda: (self._dW.clone(), db))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_moves_an_entry_alike_wherever_it_lies(dtype: torch.dtype) -> None:
    """Torch's fused kernel does not, which is why it is not taken on the CPU."""
    factors, gradient = (random_factors(30, 400, 7, dtype, seed=seed) for seed in (0, 1))

    def stepped(users: UserRange) -> torch.Tensor:
        own = slice_factors(factors, users)
        cost = _Given(gradient.W[users.start : users.stop])
        adam = Adam(cost, own, Regulariser(0.7, 0.2), lr=0.01, fused=True)
        for _ in range(3):
            run_step(adam.prepare_step(), SoloComm())
        return own.W

    parts = [stepped(UserRange(a, b)) for a, b in pairwise([0, 1, 4, 17, 200, 201, 400])]
    assert torch.equal(torch.cat(parts), stepped(UserRange(0, 400)))
