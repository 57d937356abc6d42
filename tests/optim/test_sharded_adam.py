"""Items that each rank owns some of: Adam has the bits that it has where X is whole on every rank."""

import pytest

from tests.support.sharded_problems import KINDS, require_the_bits_of_one_rank


@pytest.mark.parametrize("kind", KINDS)
def test_sharded_items_have_the_bits_of_replicated_ones(kind: str) -> None:
    require_the_bits_of_one_rank("adam", KINDS[kind])
