"""Let all items go by on all ranks, block after block, where each rank owns some rows of every block.

While one block is worked on, the next one travels to all ranks, and sums over the last one to its owners:

    gathered        0   1   2   3
    summed up           0   1   2   3
    worked on               0   1   2   3
    scattered               0   1   2   3

K features, T subtrees of this rank's users (`cofi_dist.sharding.reduction_tree`).
"""

from collections.abc import Callable, Generator, Iterator, Sequence

from torch import Tensor

from cofi_dist.kernels.base import Side
from cofi_dist.optim.base import Gather, PendingExchange, Scatter
from cofi_dist.sharding.item_shards import ItemShards
from cofi_dist.sharding.ranges import UserRange

# Works on a block: its number, and its rows of all ranks, (rows, K) and (rows,).
Work = Callable[[int, Side[Tensor]], None]
# Forms sums for each row of a block, (T, padded rows, K) and (T, padded rows), from the same.
Sum = Callable[[int, Side[Tensor]], Side[Tensor]]

# Blocks that are on a rank at the same time: one that arrives, one that is summed up, one that is worked on.
HELD = 3


class ItemPass:
    """Gather the rows of all items block by block, and scatter sums to their owners; Adam, ALS and validation
    do so.

    The memory of the blocks is allocated at the first pass, and shared by all. Passes follow one another.

    Args:
        shards: which rows this rank owns.
        has_bias: whether items have biases, which then travel too; else they are zeros.
    """

    def __init__(self, shards: ItemShards, *, has_bias: bool) -> None:
        self.shards, self.blocks, self._has_bias = shards, shards.blocks, has_bias
        self._slices = [shards.slice_items(block) for block in self.blocks]
        self._owned = [len(items) for items in shards.owned()]
        # where the own rows of each block begin
        self._starts = [sum(self._owned[:number]) for number in range(len(self.blocks))]
        self._held: Side[Tensor] | None = None

    def gather(self, own: Tensor) -> Generator[PendingExchange, None, Tensor]:
        """Yield what gathers one number per item, such as its bias; returns those of all items, (M,).

        Args:
            own: those of this rank's items, (num_owned,).
        """
        whole = own.new_empty(self.shards.num_items)

        def put(number: int, rows: Side[Tensor]) -> None:
            whole[self.blocks[number].start : self.blocks[number].stop] = rows.features[:, 0]

        numbers = ItemPass(self.shards, has_bias=False)
        yield from numbers.over(Side(own[:, None].contiguous(), own), put)
        return whole

    def over(
        self,
        own: Side[Tensor],
        work: Work | None = None,
        *,
        sum_up: Sum | None = None,
        into: Side[Tensor] | None = None,
    ) -> Iterator[PendingExchange]:
        """Yield what the ranks have to do so that all blocks go by, in order.

        Args:
            own: this rank's rows, (num_owned, K) and (num_owned,); must not move meanwhile.
            work: is called with each block, while its sums and the block after the next travel.
            sum_up: is called with each block before `work`; its sums must stay until two blocks later.
            into: where the sums over all ranks of this rank's rows go, shaped like `own`; not the biases' if
                items have none.
        """
        count, arrived = len(self.blocks), dict[int, Side[Tensor]]()
        summed: dict[int, Side[Tensor]] = {}
        for turn in range(count + 2):
            gathers: Sequence[Gather] = []
            if turn < count:
                arrived[turn] = self._block(turn, own)
                gathers = self._gathers(turn, own, arrived[turn])
            last = turn - 2

            def overlap(turn: int = turn, last: int = last) -> None:
                if sum_up is not None and 0 <= turn - 1 < count:
                    summed[turn - 1] = sum_up(turn - 1, self._rows(turn - 1, arrived[turn - 1]))
                if work is not None and last >= 0:
                    work(last, self._rows(last, arrived.pop(last)))

            targets = None
            scatters: Sequence[Scatter] = []
            if last >= 0 and last in summed and into is not None:
                targets = self._targets(last, into)
                scatters = self._pairs(summed.pop(last), targets)
            if gathers or scatters:
                yield PendingExchange(gathers, scatters, overlap)
            else:
                overlap()
            if targets is not None and into is not None:
                self._keep(last, targets, into)

    def _block(self, number: int, own: Side[Tensor]) -> Side[Tensor]:
        """Return memory for the rows of a block with their padding."""
        most = self.shards.world_size * max(self._slices)
        if self._held is None:
            features, bias = own
            self._held = Side(features.new_empty(HELD, most, features.shape[1]), bias.new_zeros(HELD, most))
        rows, place = self.shards.world_size * self._slices[number], number % HELD
        return Side(self._held.features[place, :rows], self._held.bias[place, :rows])

    def _rows(self, number: int, block: Side[Tensor]) -> Side[Tensor]:
        """Return the rows of a block without padding."""
        count = len(self.blocks[number])
        return Side(block.features[:count], block.bias[:count])

    def _gathers(self, number: int, own: Side[Tensor], block: Side[Tensor]) -> list[Gather]:
        mine, size = self._mine(number), self._slices[number]
        return self._pairs(Side(*(_padded(part[mine.start : mine.stop], size) for part in own)), block)

    def _targets(self, number: int, into: Side[Tensor]) -> Side[Tensor]:
        """Return where this rank's sums of a block arrive: in their place, unless there is padding."""
        mine, size = self._mine(number), self._slices[number]
        if len(mine) == size:
            return Side(*(rows[mine.start : mine.stop] for rows in into))
        return Side(*(rows.new_empty(size, *rows.shape[1:]) for rows in into))

    def _pairs(self, first: Side[Tensor], second: Side[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Return the pairs of what travels: features, and biases if items have any."""
        return list(zip(first, second, strict=True))[: 2 if self._has_bias else 1]

    def _keep(self, number: int, targets: Side[Tensor], into: Side[Tensor]) -> None:
        """Copy this rank's sums of a block to their place, if there is padding."""
        mine = self._mine(number)
        if len(mine) < self._slices[number]:
            for rows, arrived in self._pairs(into, targets):  # nothing was written to the others' targets
                rows[mine.start : mine.stop].copy_(arrived[: len(mine)])

    def _mine(self, number: int) -> UserRange:
        """Return which of the own rows belong to a block."""
        return UserRange(self._starts[number], self._starts[number] + self._owned[number])


def _padded(rows: Tensor, size: int) -> Tensor:
    """Return the rows, followed by zeros up to `size` of them."""
    if len(rows) == size:
        return rows
    padded = rows.new_zeros(size, *rows.shape[1:])
    padded[: len(rows)].copy_(rows)
    return padded
