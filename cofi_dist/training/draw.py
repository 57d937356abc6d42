"""Draw the factors that training starts from, as the notebook does.

K is the number of features.
"""

import math

import torch
from torch import Tensor, nn

from cofi_dist.factors import Factors
from cofi_dist.sharding.ranges import UserRange

# Entries of a factor that are drawn at once: 256 MB in float32. A rank draws all rows, but keeps only some.
DRAW_AT_ONCE = 2**26


def draw_factors(
    num_items: int,
    num_users: int,
    num_features: int,
    *,
    seed: int,
    users: UserRange,
    items: UserRange | None = None,
    device: torch.device,
    dtype: torch.dtype,
    item_bias: bool = False,
    user_bias: bool = True,
) -> Factors:
    """Draw starting values and return the rows of `users`, and those of `items` or else of all items.

    The values do not depend on the number of ranks, nor on which rows are returned. Item biases, which the
    notebook does not have, start at zero. Without user biases, b is zeros.
    """
    X, W, b = _notebook_draw(
        num_items, num_users, num_features, seed=seed, users=users, items=items, device=device
    )
    if not user_bias:
        b.zero_()
    c = torch.zeros(1, len(X), device=device, dtype=dtype) if item_bias else None
    return Factors(X.to(dtype), W.to(dtype), b.to(dtype), c)


def _notebook_draw(
    num_items: int,
    num_users: int,
    num_features: int,
    *,
    seed: int,
    users: UserRange,
    items: UserRange | None,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows of the notebook's X, W and b.

    One generator draws X and W (both by `kaiming_uniform_(a=sqrt(5))`) and b (uniform within 1 / sqrt(K)) for
    all users, in float32 and on the run's device; float64 factors start from the same numbers. W, and X
    unless all items are wanted, are drawn in pieces of DRAW_AT_ONCE entries. On the CPU, that gives the
    notebook's numbers at any size; on other devices, as long as one piece holds all of the factor.
    """
    generator = torch.Generator(device).manual_seed(seed)

    def draw_uniform(rows: int) -> Tensor:
        matrix = torch.empty(rows, num_features, device=device)
        return nn.init.kaiming_uniform_(matrix, a=math.sqrt(5), generator=generator)

    def draw_in_pieces(num_rows: int, kept: UserRange) -> Tensor:
        rows = torch.empty(len(kept), num_features, device=device)
        rows_at_once = max(1, DRAW_AT_ONCE // num_features)
        for first_row in range(0, num_rows, rows_at_once):
            piece = draw_uniform(min(rows_at_once, num_rows - first_row))
            start, stop = max(kept.start, first_row), min(kept.stop, first_row + len(piece))
            if start < stop:
                rows[start - kept.start : stop - kept.start] = piece[start - first_row : stop - first_row]
        return rows

    X = draw_uniform(num_items) if items is None else draw_in_pieces(num_items, items)
    W = draw_in_pieces(num_users, users)
    bound = 1 / math.sqrt(num_features)
    b = nn.init.uniform_(torch.empty(1, num_users, device=device), -bound, bound, generator=generator)
    return X, W, b[:, users.start : users.stop].contiguous()
