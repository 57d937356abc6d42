"""Take the half-sweeps of alternating least squares where each rank owns some rows of X.

Users are solved for in batches, each with the rows of X that it has rated. For the items, the rows of X, and
then the directions of each step of conjugate gradients, go by block after block; sums over all users go to
the rows' owners, who alone take the steps. K features, M items, U users of this rank, B blocks of users.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cofi_dist.cost.objective import Objective
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sides import sides_of
from cofi_dist.cost.unknown import UnknownPairs
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import RidgeTerm, Side, accumulation_dtype
from cofi_dist.kernels.block_sums import BlockSums, ordered_row_sums
from cofi_dist.kernels.gram import add_gram_product
from cofi_dist.kernels.item_blocks import ItemBlocks
from cofi_dist.kernels.rating_matrix import AnyCsr
from cofi_dist.optim.base import Pending, PendingSum, Solution, Step
from cofi_dist.optim.half_sweep import ItemTotals, ridge_terms, solve_side
from cofi_dist.optim.item_pass import ItemPass
from cofi_dist.optim.item_totals import ItemNumbers, SumsInOrder, SumsOfShards, SumsOverItems
from cofi_dist.optim.user_batches import UserBatch, UserBatches
from cofi_dist.sharding.reduction_tree import ReductionBlocks


@dataclass(frozen=True)
class ShardedItems:
    """Solve for the users with fetched rows of X, and for the own items with sums over all users.

    Attributes:
        batches, blocks: this rank's ratings, by user and by item.
        items: lets the items go by.
        totals: sums over all items.
        factors, objective, unknown: see `HalfSweeps`; X and c are those of the own items.
        user_ridge, item_ridge: as in `WholeItems`, the items' for the own ones.
        steps: of conjugate gradients per half-sweep.
    """

    batches: UserBatches
    blocks: ItemBlocks
    items: ItemPass
    totals: SumsOverItems
    factors: Factors
    objective: Objective
    unknown: UnknownPairs | None
    user_ridge: RidgeTerm
    item_ridge: RidgeTerm
    steps: int

    @classmethod
    def build(
        cls,
        csr: AnyCsr,
        users: ReductionBlocks,
        items: ItemPass,
        factors: Factors,
        regulariser: Regulariser,
        of_items: ItemNumbers,
        *,
        unknown_weight: float,
        user_bias: bool,
        steps: int,
    ) -> "ShardedItems":
        """Put the ratings in order for both half-sweeps.

        Args:
            csr: this rank's ratings, user by user, each user's by item.
            users: blocks of this rank's users.
            items: lets the items go by.
            factors: of this rank's users and items; are moved in place.
            regulariser: of these rows.
            of_items: what is known of all items.
            unknown_weight: a0.
            user_bias: whether b is solved for; else it stays as it is.
            steps: of conjugate gradients per half-sweep.
        """
        shards, X = items.shards, factors.X
        blocks = ItemBlocks(csr, shards, users, X.device, X.dtype, with_users=False)
        batches = UserBatches(csr, shards, X, has_bias=factors.c is not None, fixes_order=users.fixes_order)
        curvature = torch.from_numpy(of_items.curvature).clamp(min=0)
        user_ridge, item_ridge = ridge_terms(
            factors,
            regulariser,
            batches.counts,
            batches.curvature,
            torch.from_numpy(shards.own_rows(of_items.counts)),
            torch.from_numpy(shards.own_rows(curvature.numpy())),
            total_curvature=float(curvature.sum(dtype=accumulation_dtype(X))),
            user_bias=user_bias,
        )
        objective = Objective(regulariser, blocks.sums)
        unknown = UnknownPairs(unknown_weight, blocks.sums) if unknown_weight else None
        totals: SumsOverItems = SumsOfShards(factors, objective, blocks.sums, item_ridge.curvature, unknown)
        if users.fixes_order:
            totals = SumsInOrder(items, factors, curvature.to(X), of_items.scale_X, unknown)
        ridges = user_ridge, item_ridge
        return cls(batches, blocks, items, totals, factors, objective, unknown, *ridges, steps)

    @property
    def sums(self) -> BlockSums:
        """Return the sums over this rank's users."""
        return self.blocks.sums

    def prepare(self, moves: Iterator[Pending], *, with_cost: bool) -> Step:
        """Return a step that takes the moves, and whose evaluation finds the cost if asked for."""
        step = Step(None, moves)
        if with_cost:
            step.evaluation = self._evaluate(step)
        return step

    def solve_users(self) -> Generator[Pending, None, tuple[Tensor, ItemTotals]]:
        """Solve for W and b, in place."""
        users, own = sides_of(self.factors)
        column_squares, totals = yield from self.totals.over(own)
        ridge = self.user_ridge
        if self.unknown is not None and totals.gram is not None:
            ridge = replace(ridge, gram=self.unknown.scaled(totals.gram, self.factors))

        def solve(batch: UserBatch, fetched: Side[Tensor]) -> None:
            solved, of_batch = _rows(users, batch), ridge.of_rows(batch.users.start, batch.users.stop)
            for _ in solve_side(
                batch.kernels, solved, fetched, of_batch, column_squares[None], self.steps, is_local=True
            ):
                raise AssertionError("what is local needs no other rank")

        yield from self.batches.over(own, solve)
        return column_squares.new_zeros(()), totals

    def solve_items(self, gram: Tensor | None) -> Generator[Pending, None, Solution]:
        """Solve for the own rows of X and c, in place."""
        from cofi_dist.optim.conjugate_gradient import start_cg  # it imports the compiled loops

        users, own = sides_of(self.factors)
        ridge, blocks, halves = replace(self.item_ridge, gram=gram), self.blocks.blocks, list[Tensor]()
        column_squares = self.sums.column_squares_over_users(self.factors.W, self.user_ridge.curvature)

        def gradients(number: int, items: Side[Tensor]) -> Side[Tensor]:
            sums, half_BV = blocks[number].item_gradients(items, users)
            halves.append(half_BV.clone())
            return sums

        def products(number: int, directions: Side[Tensor]) -> Side[Tensor]:
            return blocks[number].item_products(directions, users)

        in_order = self.sums.blocks.fixes_order
        residual, product = (Side(*map(torch.zeros_like, own)) for _ in range(2))
        yield from self.items.over(own, sum_up=gradients, into=residual)
        yield PendingSum(column_squares)
        if gram is not None:
            add_gram_product(residual, own, gram, constant=1, fixes_order=in_order)
        mean_square = column_squares[0] / ridge.total_curvature
        cg = start_cg(own, residual, mean_square, ridge, fixes_order=in_order)
        for _ in range(self.steps):
            yield from self.items.over(cg.direction, sum_up=products, into=product)
            if gram is not None:
                add_gram_product(product, cg.direction, gram, constant=0, fixes_order=in_order)
            cg.step(product)
        decrease = yield from self.totals.sum(cg.decreases)
        half_B = ordered_row_sums(torch.cat(halves, 1))
        return Solution(half_B, decrease, decrease.new_zeros(()))

    def _evaluate(self, step: Step) -> Iterator[Pending]:
        """Find half the squared error over this rank's ratings, and the squares of all items."""
        users, own = sides_of(self.factors)
        _, totals = yield from self.totals.over(own)
        half_U = torch.empty(self.batches.num_users, dtype=torch.float64, device=users.bias.device)

        def measure(batch: UserBatch, fetched: Side[Tensor]) -> None:
            half = batch.kernels.half_squared_errors(_rows(users, batch), fetched)
            half_U[batch.users.start : batch.users.stop] = half

        yield from self.batches.over(own, measure)
        of_blocks = None
        if self.unknown is not None and totals.gram is not None:
            of_blocks = self.unknown.value(self.unknown.gram_of_users(self.factors), totals.gram)
        step.half_squared_error = self.sums.sum_over_users(half_U, of_blocks)
        step.item_squares = totals.squares


def _rows(side: Side[Tensor], batch: UserBatch) -> Side[Tensor]:
    """Return a batch's rows of the users' side."""
    return Side(*(part[batch.users.start : batch.users.stop] for part in side))
