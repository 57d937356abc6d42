"""Plan the memory that training takes on one rank.

The plan adds up what grows with the ratings, the users or the items: what is held while epochs are run, and
what is needed besides for a moment, at the start, in an epoch, or when the model is saved. Tests hold it to
what processes were seen to take; docs/scaling.md's table of what fits is made by it.

N ratings and U users of this rank, M items, K features; copies of a side's features, (M, K) or (U, K).
"""

from dataclasses import dataclass, fields

import numpy as np

from cofi_dist.config import Config
from cofi_dist.cost.dense import BYTES_PER_CELL
from cofi_dist.distributed.node_memory import SLOT_BYTES
from cofi_dist.optim.item_pass import HELD
from cofi_dist.sharding.item_shards import automatic_block
from cofi_dist.sharding.reduction_tree import largest_subtrees
from cofi_dist.sharding.share import Share
from cofi_dist.training.draw import DRAW_AT_ONCE

# What a process holds before it has any data: libraries, compiled loops; on CUDA, the device's context.
PROCESS = {"cpu": 430_000_000, "cuda": 500_000_000}
# A rating while both orders are made: as it was read, its target, its place, and the second order.
AT_START, AS_READ = 28, 12
# Beside features, of each item: sums and offsets in float64, counts. Of each user: counts and offsets.
PER_ITEM, PER_USER, PER_USER_OF_ALL = 44, 44, 8
# A rating of sharded items more at the start; each pair of a user and a block in which he rated. Of ALS, each
# rating in batches of users, with what the allocator keeps between so many small arrays: as it was seen.
AT_START_SHARDED, PER_PAIR, PER_FETCHED = 12, 12, 36
# Of each segment: where it starts, and how its sums are merged (`cofi_dist.kernels.cpu.schedule`).
PER_SEGMENT, TILE_RATINGS = 41, 2**20
# A tile has ratings of one of so many items.
ITEMS_OF_TILE = 5
# Ratings of a piece on CUDA (`cofi_dist.kernels.cuda.backend`); each row has at least one.
PIECE_RATINGS, PER_ROW_ON_CUDA = 256, 28
# Of made-up ratings, what items are drawn by (`cofi_dist.data.sources.population`); else, where users' begin.
MADE_UP_ITEM, STORED_USER = 56, 8
# Of a held-out rating: its user, item, value and offset.
HELD_OUT = 24
# Bytes of X and W up to which rank 0 gathers the model (`cofi_dist.model.store`).
IN_ONE_FILE = 2**32
# Blocks that threads on the CPU have freed, but their allocator keeps, if they are smaller than MAPPED bytes.
FREED, MAPPED = 3, 2**25


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Hold the bytes that a rank needs, by what they are for.

    Attributes:
        process: libraries and compiled loops.
        ratings: in both orders; for `cost: dense`, whole matrices.
        users: W, b, their gradients, the optimiser's state, the best copy.
        items: X and c, likewise; of the own rows, if they are sharded.
        blocks: rows of sharded items that go by.
        rows: counts, sums and offsets of rows, and where their ratings are.
        block_errors: squared errors of each item in each block of users.
        validation: held-out ratings.
        source: of made-up ratings, what they are drawn from.
        messages: memory that ranks share.
        epoch: needed for a moment in each epoch.
        start: needed before the first epoch, beside `process`, `rows` and `source`.
        saving: needed on rank 0 when the model is saved.
    """

    process: int = 0
    ratings: int = 0
    users: int = 0
    items: int = 0
    blocks: int = 0
    rows: int = 0
    block_errors: int = 0
    validation: int = 0
    source: int = 0
    messages: int = 0
    epoch: int = 0
    start: int = 0
    saving: int = 0

    @property
    def held(self) -> int:
        """Return the bytes that are held all along the epochs, beside the process."""
        momentary = ("process", "epoch", "start", "saving")
        return sum(getattr(self, part.name) for part in fields(self) if part.name not in momentary)

    @property
    def of_data(self) -> int:
        """Return the most bytes that are needed at a time, beside the process."""
        return max(self.held + max(self.epoch, self.saving), self.start + self.rows + self.source)

    @property
    def peak(self) -> int:
        """Return the most bytes that are needed at a time."""
        return self.process + self.of_data


def plan_memory(config: Config, share: Share, device: str = "cpu") -> MemoryPlan:
    """Return what a rank needs to train.

    On CUDA, that is memory of the device; its host needs the parts `rows` and `source`, and AT_START bytes a
    rating at the start.

    Args:
        config: of the run.
        share: what the rank has.
        device: cpu or cuda.
    """
    return _Planner(config, share, device).plan()


class _Planner:
    def __init__(self, config: Config, share: Share, device: str) -> None:
        self._config, self._share, self._is_cuda = config, share, device == "cuda"
        self._train, K = config.train, config.model.num_features
        self._number = np.dtype(config.train.dtype).itemsize
        self._user_row = (K + 1) * self._number
        self._item_row = (K + config.model.item_bias) * self._number
        self._has_others = share.world_size > 1
        blocks = config.train.blocks or share.world_size
        # in integers, because train.blocks may be too large for a float
        cuts = [rank * blocks // share.world_size for rank in (share.rank, share.rank + 1)]
        self._blocks, self._subtrees = cuts[1] - cuts[0], largest_subtrees(*cuts)
        self._is_fixed = config.train.blocks is not None
        self._is_sharded = config.train.items == "sharded"
        self._block = 0  # bytes of a block of sharded items
        if self._is_sharded:
            bytes_of_row = K * self._number
            items = automatic_block(share.num_items, bytes_of_row, share.world_size)
            self._block = min(config.train.item_block or items, share.num_items) * self._item_row

    def plan(self) -> MemoryPlan:
        share = self._share
        X, W = share.num_items * self._item_row, share.users * self._user_row
        if self._is_sharded:
            X //= share.world_size
        users, items, epoch = self._adam(X, W) if self._train.optimizer == "adam" else self._als(X, W)
        epoch = max(epoch, self._averaging(X, W))
        made_up = self._config.data.synthetic is not None
        of_source = MADE_UP_ITEM * share.num_items if made_up else STORED_USER * share.num_users
        return MemoryPlan(
            process=PROCESS["cuda" if self._is_cuda else "cpu"],
            ratings=self._ratings(),
            users=users,
            items=items,
            blocks=self._held_blocks(),
            rows=self._rows_on_cuda() if self._is_cuda else self._rows(),
            block_errors=self._block_errors(),
            validation=HELD_OUT * share.held_out,
            source=0 if self._is_cuda else of_source,
            messages=self._shared_memory(),
            epoch=epoch,
            start=0 if self._is_cuda else self._start(X, W),
            saving=self._saving(),
        )

    def _adam(self, X: int, W: int) -> tuple[int, int, int]:
        """Return what users and items take, and what an epoch takes for a moment.

        Each factor has two moments, its best copy and its gradient.
        """
        if self._is_sharded:
            return 5 * W, 5 * X, self._exchange() + self._pieces
        is_alone_in_message = not (self._config.model.item_bias or self._train.unknown_weight)
        message = self._message(X, in_place=is_alone_in_message)
        return 5 * W, (4 + self._sums) * X, max(message, self._pieces)

    def _als(self, X: int, W: int) -> tuple[int, int, int]:
        """Return the same of ALS: each factor has that of the last sweep, and its best copy.

        Items whose ratings are on several ranks have sums for the gradient and for products, and a direction.
        On CUDA, both sides have these, and more besides.
        """
        if self._is_sharded:  # residuals, products and directions of the own rows; rows that are sent
            of_users = 6 * self._is_cuda * W
            return 3 * W, 6 * X, max(2 * self._block + of_users, self._exchange()) + self._pieces
        if self._is_cuda:
            return 3 * W, 3 * X, 6 * max(X, W) + self._pieces + self._message(X, in_place=False)
        if not self._has_others and self._share.ratings < 3 * TILE_RATINGS // 2:  # a single tile
            return 3 * W, 3 * X, max(X, W)  # row by row, which leaves nothing to hold
        in_sweep = X + self._message(X, in_place=False)
        return 3 * W, (3 + 2 * self._sums) * X, max(in_sweep, W)

    def _averaging(self, X: int, W: int) -> int:
        """Return what adding a draw to a mean takes: both sides, 2 K columns in float64, and one scaled."""
        both_wide = 2 * np.dtype(np.float64).itemsize // self._number
        return 0 if self._train.average is None else both_wide * (X + W + max(X, W))

    @property
    def _sums(self) -> int:
        """Return how many copies of X its sums take: of subtrees of users, and those that wait for others."""
        most = max(tree.stop - tree.start for tree in self._subtrees)
        ratings = self._share.ratings * most // self._blocks
        levels = most.bit_length() - 1
        return len(self._subtrees) + (levels if ratings > TILE_RATINGS else 0)

    def _held_blocks(self) -> int:
        """Return what blocks of sharded items take: of rows, of sums, and for ALS of fetched rows."""
        fetched = 2 * (self._train.optimizer == "als")
        waiting = self._sums - len(self._subtrees)
        held = HELD + 2 * len(self._subtrees) + waiting + fetched
        return held * self._block + (0 if self._is_cuda else FREED * min(self._block, MAPPED))

    def _exchange(self) -> int:
        """Return what a block takes while its sums travel: once as sent, if it is packed, and as received."""
        own = len(self._subtrees)
        packed = own if self._is_fixed and own > 1 else 0
        # in shared memory they are added where they lie, unless their order is fixed
        received = 0 if self._shares_memory and not self._is_fixed else 1
        return self._has_others * (packed + received) * self._block

    def _block_errors(self) -> int:
        copies = 2 if self._is_sharded else 1  # as blocks went by, and of all items
        return 8 * copies * (self._blocks if self._is_fixed else 1) * self._share.num_items

    def _message(self, X: int, *, in_place: bool) -> int:
        """Return what a sum of X's shape over the ranks takes for a moment."""
        if not self._has_others:
            return 0
        if self._is_fixed:  # as received, and as gathered; several tensors are packed
            own = len(self._subtrees)
            packed = 0 if in_place else own
            copies = max(2 * packed, packed + (own if own > 1 else 0) + 2)
            return copies * X
        return 0 if in_place or self._shares_memory else X

    @property
    def _shares_memory(self) -> bool:
        """Return whether the ranks add and exchange in memory of their machine."""
        return self._has_others and self._share.on_one_machine and not self._is_cuda

    def _shared_memory(self) -> int:
        """Return what is used of that memory: of a slot for each rank, and of one for sums of all items."""
        others, slots = self._share.world_size - 1, self._share.world_size
        if self._is_sharded:
            largest = others * self._block // slots
        else:
            largest, slots = self._share.num_items * self._item_row, slots + 1
        return self._shares_memory * slots * min(SLOT_BYTES[0], largest)

    @property
    def _pieces(self) -> int:
        """Return what the sums of long rows' pieces take on CUDA, for one side at a time."""
        share = self._share
        items = self._block // self._item_row if self._is_sharded else share.num_items
        rows = max(share.users, items)
        return self._is_cuda * (rows + share.ratings // PIECE_RATINGS) * self._user_row

    def _ratings(self) -> int:
        share = self._share
        if self._train.cost == "dense":
            return BYTES_PER_CELL * share.users * share.num_items
        return 2 * (4 + self._number) * share.ratings

    def _rows_on_cuda(self) -> int:
        """Return what counts take on CUDA, and where rows and the pieces of their ratings begin."""
        share = self._share
        return PER_ROW_ON_CUDA * (share.num_items + share.users) + 24 * share.ratings // PIECE_RATINGS

    def _rows(self) -> int:
        """Return what counts, sums and segments take: those of items are per block and tile of users."""
        share = self._share
        tiles = max(1, self._blocks if self._is_fixed else 0, round(share.ratings / TILE_RATINGS))
        # in a tile are the ratings of few items, as most are of popular ones
        tiles_with_rows = tiles if self._is_sharded else tiles - 1
        segments = min(share.ratings, tiles_with_rows * share.num_items // ITEMS_OF_TILE)
        if not self._is_sharded:
            segments += share.num_items + share.users
        pairs = 0
        if self._is_sharded and self._train.optimizer == "als":
            pairs, segments = PER_FETCHED * share.ratings, segments + share.users
        elif self._is_sharded:  # a user, and a block of items
            count = -(-share.num_items * self._item_row // self._block)
            pairs = PER_PAIR * min(share.ratings, count * share.users)
        of_rows = PER_ITEM * share.num_items + PER_USER * share.users + PER_USER_OF_ALL * share.num_users
        return PER_SEGMENT * segments + pairs + of_rows

    def _start(self, X: int, W: int) -> int:
        """Return what is needed to draw the factors, and to bring the ratings into both orders."""
        share, N = self._share, self._share.ratings
        if self._train.cost == "dense":
            return X + W
        drawn = max(share.num_users, share.num_items if self._is_sharded else 0)
        piece = self._number * min(DRAW_AT_ONCE, drawn * self._config.model.num_features)
        if self._train.init == "counter":
            piece = 0
        per_rating = AT_START + (AT_START_SHARDED if self._is_sharded else 0)
        return X + W + max(per_rating * N, AS_READ * N + piece)

    def _saving(self) -> int:
        """Return what gathering W on rank 0 takes: the parts of the other ranks, and the whole."""
        share = self._share
        size = (share.num_users + share.num_items) * self._user_row
        if not self._has_others or share.rank or self._is_cuda or self._is_sharded or size > IN_ONE_FILE:
            return 0  # the model is written in parts
        return (2 * share.num_users - share.users) * self._user_row
