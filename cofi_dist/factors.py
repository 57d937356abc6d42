"""The factors X, W, b and c that are learnt, and the notebook's way of drawing their start."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cofi_dist.sharding.ranges import UserRange

# Which factors are biases; the others are features.
BIASES = frozenset("bc")

# Entries that are drawn at once if only some rows are kept: 256 MB in float32.
DRAW_AT_ONCE = 2**26


@dataclass(frozen=True)
class Factors:
    """Hold item features, and the weights and biases of one range of users, on one device in one dtype.

    Attributes:
        X: item features, (num_items, num_features), the same on every rank.
        W: weights of the range's users, (users, num_features).
        b: their biases, (1, users), as in the notebook.
        c: item biases, (1, num_items), the same on every rank; None if the model has none.
    """

    X: Tensor
    W: Tensor
    b: Tensor
    c: Tensor | None = None

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {tuple(factor.shape)}" for name, factor in self.by_name.items())
        return f"Factors({shapes}, {str(self.X.dtype).removeprefix('torch.')})"

    @property
    def by_name(self) -> dict[str, Tensor]:
        """Return X, W, b, and c if there is one, by name."""
        named = {"X": self.X, "W": self.W, "b": self.b, "c": self.c}
        return {name: factor for name, factor in named.items() if factor is not None}

    @property
    def tensors(self) -> list[Tensor]:
        """Return X, W, b, and c if there is one."""
        return list(self.by_name.values())

    def item_bias_or_zeros(self) -> Tensor:
        """Return the item biases, (num_items,), or zeros if the model has none."""
        return self.X.new_zeros(len(self.X)) if self.c is None else self.c[0]


def draw_factors(
    num_items: int,
    num_users: int,
    num_features: int,
    *,
    seed: int,
    users: UserRange,
    device: torch.device,
    dtype: torch.dtype,
    item_bias: bool = False,
) -> Factors:
    """Draw the notebook's start and keep the rows of `users`; the numbers do not depend on the world size.

    One generator draws X, W (both `kaiming_uniform_(a=sqrt(5))`) and b (uniform within
    1 / sqrt(num_features)) for all users, in float32, on the device of the run. Float64 factors start from
    the same numbers. W is drawn in pieces of DRAW_AT_ONCE entries: on the CPU the numbers are the notebook's
    at any size, on other devices if one piece holds all of W. Item biases, which the notebook lacks, start
    at zero.
    """
    generator = torch.Generator(device).manual_seed(seed)

    def kaiming(rows: int) -> Tensor:
        matrix = torch.empty(rows, num_features, device=device)
        return nn.init.kaiming_uniform_(matrix, a=math.sqrt(5), generator=generator)

    X = kaiming(num_items)
    W = torch.empty(len(users), num_features, device=device)
    rows_at_once = max(1, DRAW_AT_ONCE // num_features)
    for at in range(0, num_users, rows_at_once):
        piece = kaiming(min(rows_at_once, num_users - at))
        start, stop = max(users.start, at), min(users.stop, at + len(piece))
        if start < stop:
            W[start - users.start : stop - users.start] = piece[start - at : stop - at]
    bound = 1 / math.sqrt(num_features)
    b = nn.init.uniform_(torch.empty(1, num_users, device=device), -bound, bound, generator=generator)
    own_b = b[:, users.start : users.stop].contiguous()
    c = torch.zeros(1, num_items, device=device, dtype=dtype) if item_bias else None
    return Factors(X.to(dtype), W.to(dtype), own_b.to(dtype), c)
