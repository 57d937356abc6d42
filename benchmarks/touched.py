"""Which rows of X a rank's users touch, on made-up ratings: what could stay at home with sharded items.

    python -m benchmarks.touched [--repeats 5]

Touched: the share of all items that the users of one rank have rated, and the least and the largest share of
any block of items. Fetched: what ALS fetches for its users' half-sweep, in batches of a block's rows and of
twice as many, in units of a whole gathering of X. Packing: seconds to put the touched rows one after the
other and back in their places, beside copying all rows once.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from benchmarks.machine import machine, spread
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.kernels.cpu.row_batches import cut_into_batches
from cofi_dist.sharding.item_shards import ItemShards, automatic_block
from cofi_dist.sharding.partition import UserPartition


@dataclass(frozen=True)
class Shape:
    """A problem, and on how many ranks."""

    users: int
    items: int
    ratings: int
    features: int
    ranks: int


SHAPES = [
    Shape(610, 9724, 100_836, 64, 2),
    Shape(610, 9724, 100_836, 64, 4),
    Shape(69_878, 10_677, 10_000_000, 64, 2),
    Shape(20_000, 2_000_000, 5_000_000, 64, 4),
    Shape(20_000, 2_000_000, 5_000_000, 64, 2),
]


def seconds(work: Callable[[], object], repeats: int) -> list[float]:
    """Of each call but the first."""
    found = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found[1:]


def row(shape: Shape, repeats: int) -> str:
    """Of the table, for rank 0."""
    source = SyntheticRatings(shape.users, shape.items, shape.ratings, 0)
    mine = UserPartition.balanced(source.ratings_per_user(), shape.ranks, None).ranges[0]
    ratings = source.load(mine)
    indptr, items = np.searchsorted(ratings.user, np.arange(len(mine) + 1)), ratings.item.astype(np.int32)
    block = automatic_block(shape.items, 4 * shape.features, shape.ranks)
    touched = np.unique(items)
    blocks = ItemShards(shape.items, block, shape.ranks, 0).blocks
    shares = [np.count_nonzero((touched >= b.start) & (touched < b.stop)) / len(b) for b in blocks]
    fetched = []
    for most in (block, 2 * block):
        cuts = pairwise(cut_into_batches(indptr, items, shape.items, most))
        fetched.append(sum(len(np.unique(items[indptr[a] : indptr[b]])) for a, b in cuts) / shape.items)
    X, whole = (torch.zeros(shape.items, shape.features) for _ in range(2))
    rows, packed = torch.from_numpy(touched.astype(np.int64)), torch.empty(len(touched), shape.features)

    def pack() -> None:
        torch.index_select(X, 0, rows, out=packed)
        whole.index_copy_(0, rows, packed)

    pairs = zip(seconds(pack, repeats), seconds(lambda: whole.copy_(X), repeats), strict=True)
    cells = [
        *(f"{n:,}" for n in (shape.ratings, shape.items, shape.ranks)),
        f"{100 * len(touched) / shape.items:.0f} %",
        f"{len(blocks)}: {100 * min(shares):.0f} to {100 * max(shares):.0f} %",
        " and ".join(f"{times:.2f}" for times in fetched),
        spread([a / b for a, b in pairs]),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}; 64 features in float32\n")
    print("| ratings | items | ranks | touched | blocks | ALS fetches, x X | packing, x copying X |")
    print("|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        print(row(shape, args.repeats), flush=True)


if __name__ == "__main__":
    main()
