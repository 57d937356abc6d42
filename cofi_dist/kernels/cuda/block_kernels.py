"""Sum each item's ratings block by block of users, and add the blocks in the order of the reduction tree.

Letters as in `cofi_dist.kernels.base`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cofi_dist.kernels.base import RatingKernels, RidgeTerm, Side


class BlockKernels:
    """Add the sums of the kernels of each block; at most log2(B) + 1 sums of a row wait at the same time.

    A block is the same on any number of ranks, and so are its sums.

    Args:
        of_blocks: kernels over each item's ratings by the users of one block, B of them, in order.
        subtrees: the blocks of each subtree, T of them.
    """

    fixes_order = True

    def __init__(self, of_blocks: Sequence[RatingKernels], subtrees: Sequence[range]) -> None:
        self._of_blocks, self._subtrees = of_blocks, subtrees
        self.counts = torch.stack([kernels.counts for kernels in of_blocks]).sum(0)
        self.curvature = torch.stack([kernels.curvature for kernels in of_blocks]).sum(0)

    @property
    def csr(self) -> tuple[Tensor, Tensor, Tensor]:
        """Refuse: only the exact solver reads whole rows, and it fixes no order."""
        raise NotImplementedError("the ratings of an item lie in several blocks")

    @property
    def weights(self) -> tuple[Tensor | float, float]:
        """Refuse, as `csr` does."""
        raise NotImplementedError("the ratings of an item lie in several blocks")

    def half_squared_errors(self, solved: Side[Tensor], fixed: Side[Tensor]) -> Tensor:
        """Return sum half_n of each row, (V,) float64."""
        return torch.stack([each.half_squared_errors(solved, fixed) for each in self._of_blocks]).sum(0)

    def error_gradients(self, solved: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Sum the errors' gradients as `RatingKernels` says."""
        halves: list[Tensor] = []

        def of_block(kernels: RatingKernels) -> tuple[Tensor, Tensor]:
            sums, sums_b, half = kernels.error_gradients(solved, fixed)
            halves.append(half)
            return sums, sums_b

        sums, sums_b = self._per_subtree(of_block)
        return sums, sums_b, torch.cat(halves)

    def normal_products(self, directions: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor]:
        """Form the products as `RatingKernels` says."""
        return self._per_subtree(lambda kernels: kernels.normal_products(directions, fixed))

    def solve_rows(
        self, solved: Side[Tensor], fixed: Side[Tensor], ridge: RidgeTerm, mean_square: Tensor, steps: int
    ) -> None:
        """Return None: no row is whole."""
        return

    def _per_subtree(
        self, of_block: Callable[[RatingKernels], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Add what is returned for each block of a subtree, (1, ...), in the order of its tree: (T, ...)."""
        totals = []
        for subtree in self._subtrees:
            waiting: list[tuple[Tensor, Tensor]] = []
            for count, block in enumerate(subtree, start=1):
                waiting.append(of_block(self._of_blocks[block]))
                # as many neighbours are complete as the count has zeros at its end, in binary
                for _ in range((count & -count).bit_length() - 1):
                    right = waiting.pop()
                    for left_sum, right_sum in zip(waiting[-1], right, strict=True):
                        left_sum.add_(right_sum)
            totals.append(waiting.pop())
        features, bias = zip(*totals, strict=True)
        return _joined(features), _joined(bias)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
