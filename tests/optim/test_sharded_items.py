"""Items that each rank owns some of: ALS does what it does where X is whole on every rank."""

import pytest
import torch

from tests.support import sharded_problems
from tests.support.problems import random_ratings
from tests.support.sharded_problems import KINDS, Problem, require_the_bits_of_one_rank


@pytest.mark.parametrize("kind", KINDS)
def test_sharded_items_have_the_bits_of_replicated_ones(kind: str) -> None:
    require_the_bits_of_one_rank("als", KINDS[kind])


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("unknown_weight", [0.0, 0.3])
def test_sums_of_shards_give_the_same_costs(unknown_weight: float, *, biases: bool) -> None:
    given = {"unknown_weight": unknown_weight, "biases": biases, "dtype": torch.float64}
    whole = Problem(1, num_blocks=None, optimizer="als", **given)  # type: ignore[arg-type]
    costs = whole.run()
    for ranks in (1, 2, 4):
        sharded = Problem(ranks, num_blocks=None, block_items=10, optimizer="als", **given)  # type: ignore[arg-type]
        assert sharded.run() == pytest.approx(costs, rel=1e-10)


@pytest.mark.parametrize("optimizer", ["adam", "als"])
@pytest.mark.parametrize(("users", "items"), [(1, 37), (23, 2)])
def test_ranks_may_be_without_users_or_items(
    users: int, items: int, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratings = random_ratings(users, items, users * items // 2)
    for name, value in (("USERS", users), ("ITEMS", items), ("RATINGS", ratings)):
        monkeypatch.setattr(sharded_problems, name, value)
    require_the_bits_of_one_rank(optimizer, KINDS["implicit"])
