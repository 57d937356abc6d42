"""The plan of the merges, held to a binary tree of blocks that is written down as it is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.kernels.cpu.partial_sums import plan_merges

Tree = int | tuple["Tree", "Tree"] | None


def tree_reference(blocks: set[int], start: int, stop: int) -> Tree:
    """How a row that has ratings in these blocks sums those from start to stop: pairs are added."""
    if stop - start == 1:
        return start if start in blocks else None
    middle = (start + stop) // 2
    left, right = tree_reference(blocks, start, middle), tree_reference(blocks, middle, stop)
    if left is None or right is None:
        return right if left is None else left
    return left, right


def tree_of_plan(row: list[int], block: list[int], num_rows: int) -> tuple[list[Tree], int]:
    """How the rows are summed if the plan is followed, and the most levels on which a sum has waited."""
    is_first = np.empty(len(row), bool)
    merge_mask, store_level = np.zeros((2, len(row)), np.int64)
    plan_merges(
        np.array(row, np.int32), np.array(block, np.int32), is_first, merge_mask, store_level, num_rows
    )
    sums: list[Tree] = [None] * num_rows
    waiting: list[dict[int, Tree]] = [{} for _ in range(num_rows)]
    for s, r in enumerate(row):
        total: Tree = block[s] if is_first[s] else sums[r]
        for level in range(int(merge_mask[s]).bit_length()):
            if merge_mask[s] >> level & 1:
                total = waiting[r].pop(level + 1), total
        if store_level[s]:
            waiting[r][int(store_level[s])] = total
        else:
            sums[r] = total
    assert not any(waiting), "everything that waits is merged"
    return sums, int(store_level.max(initial=0))


@given(st.integers(0, 4), st.data())
def test_every_rows_block_sums_are_added_in_the_order_of_the_tree(height: int, data: st.DataObject) -> None:
    num_rows, num_blocks = 3, 2**height
    segments = []
    for r in range(num_rows):
        blocks = sorted(data.draw(st.sets(st.integers(0, num_blocks - 1), min_size=1)))
        # a block of several tiles has a segment per tile
        segments += [(b, tile, r) for b in blocks for tile in range(data.draw(st.integers(1, 2)))]
    segments.sort()
    row, block = [r for *_, r in segments], [b for b, *_ in segments]
    sums, levels = tree_of_plan(row, block, num_rows)
    for r in range(num_rows):
        blocks_of_row = {b for b, _, owner in segments if owner == r}
        assert sums[r] == tree_reference(blocks_of_row, 0, num_blocks)
    assert levels <= height


def test_the_example_of_the_picture() -> None:
    assert tree_of_plan([0, 0, 0], [0, 1, 3], 1) == ([((0, 1), 3)], 2)
