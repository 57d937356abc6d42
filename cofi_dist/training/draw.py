"""Draw the factors that training starts from: as the notebook does, or by a counter.

Both draw X, W and b from one distribution, uniform within 1 / sqrt(K), where K is the number of features. The
notebook's generator has to draw every row before a rank's own. A counter jumps: number n of a factor is a
function of the seed, the factor and n, so a rank draws its own rows only, on all its threads.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cofi_dist.factors import BIASES, Factors
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.system.threads import in_order, num_threads

# Entries of a factor that the notebook's draw makes at once: 256 MB in float32. A rank draws all rows, but
# keeps only some.
DRAW_AT_ONCE = 2**26
# Entries that a thread draws at once by the counter; on their way to a device they are in memory twice.
COUNTED_AT_ONCE = 2**20
# The streams of the counter. Other numbers would be other factors.
STREAMS = {"X": 0, "W": 1, "b": 2}


def draw_factors(
    num_items: int,
    num_users: int,
    num_features: int,
    *,
    seed: int,
    users: UserRange,
    items: Sequence[UserRange] | None = None,
    device: torch.device,
    dtype: torch.dtype,
    item_bias: bool = False,
    user_bias: bool = True,
    by_counter: bool = False,
) -> Factors:
    """Draw starting values and return the rows of `users`, and those of `items` or else of all items.

    The values do not depend on the number of ranks, nor on which rows are returned. Item biases, which the
    notebook does not have, start at zero. Without user biases, b is zeros.
    """
    if by_counter:
        ranges = {"X": [UserRange(0, num_items)] if items is None else items, "W": [users], "b": [users]}
        X, W, b = (
            counter_draw(name, rows, num_features, seed=seed, device=device, dtype=dtype)
            for name, rows in ranges.items()
        )
    else:
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
    items: Sequence[UserRange] | None,
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

    def draw_in_pieces(num_rows: int, kept: Sequence[UserRange]) -> Tensor:
        rows, done = torch.empty(sum(map(len, kept)), num_features, device=device), 0
        rows_at_once = max(1, DRAW_AT_ONCE // num_features)
        for first_row in range(0, num_rows, rows_at_once):
            piece = draw_uniform(min(rows_at_once, num_rows - first_row))
            for each in kept:
                start, stop = (min(max(end - first_row, 0), len(piece)) for end in (each.start, each.stop))
                rows[done : done + stop - start] = piece[start:stop]
                done += stop - start
        return rows

    X = draw_uniform(num_items) if items is None else draw_in_pieces(num_items, items)
    W = draw_in_pieces(num_users, [users])
    bound = 1 / math.sqrt(num_features)
    b = nn.init.uniform_(torch.empty(1, num_users, device=device), -bound, bound, generator=generator)
    return X, W, b[:, users.start : users.stop].contiguous()


def counter_draw(
    name: str,
    rows: Sequence[UserRange],
    num_features: int,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Return rows of X or W, (rows, K), or of b, (1, rows), and compute no others.

    They are always drawn on the CPU, so that every device starts from the same bits; float32 is the rounded
    float64.

    Args:
        name: of the factor.
        rows: of the whole factor, in order.
        num_features: K.
        seed: of the run.
        device: where the rows are returned.
        dtype: float32 or float64.

    Raises:
        ConfigError: an environment variable forbids compiling the loop.
    """
    from cofi_dist.kernels.cpu import philox
    from cofi_dist.kernels.cpu.jit import require_loops

    require_loops()
    columns = 1 if name in BIASES else num_features
    flat = torch.empty(sum(map(len, rows)) * columns, device=device, dtype=dtype)
    # where each piece goes, and its first number
    pieces: list[tuple[slice, int]] = []
    for each in rows:
        place = pieces[-1][0].stop if pieces else 0
        for start in range(0, len(each) * columns, COUNTED_AT_ONCE):
            stop = min(start + COUNTED_AT_ONCE, len(each) * columns)
            pieces.append((slice(place + start, place + stop), each.start * columns + start))

    def draw_piece(number: int) -> None:
        where, first = pieces[number]
        piece, bound = flat[where], 1 / math.sqrt(num_features)
        host = piece if device.type == "cpu" else torch.empty_like(piece, device="cpu")
        philox.uniform(seed, STREAMS[name], first, bound, host.numpy())
        if host is not piece:
            piece.copy_(host)

    for _ in in_order(draw_piece, range(len(pieces)), num_threads()):
        pass
    return flat.view(1, -1) if name in BIASES else flat.view(-1, columns)
