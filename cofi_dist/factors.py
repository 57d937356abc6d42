"""Hold the factors that a model learns, X, W, b and c, and draw them as the notebook does.

K is the number of features.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cofi_dist.sharding.ranges import UserRange

# Entries of W that are drawn at once: 256 MB in float32. Every rank draws all of W, but keeps only some rows.
DRAW_AT_ONCE = 2**26

# Names of the factors that have one number per row; the others are features, with K columns.
BIASES = ("b", "c")


@dataclass(frozen=True)
class Factors:
    """Hold the item factors and one user range's factors, on one device and of one dtype.

    Attributes:
        X: item features, (num_items, K), the same on every rank.
        W: weights of this range's users, (users, K).
        b: biases of this range's users, (1, users), as in the notebook.
        c: item biases, (1, num_items), the same on every rank; None if the model has none.
    """

    X: Tensor
    W: Tensor
    b: Tensor
    c: Tensor | None = None

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {tuple(factor.shape)}" for name, factor in self.by_name.items())
        return f"Factors({shapes}, {str(self.X.dtype).removeprefix('torch.')})"

    def features(self) -> dict[str, Tensor]:
        """Return the factors that have K columns, X and W, by name."""
        return {"X": self.X, "W": self.W}

    def biases(self) -> dict[str, Tensor]:
        """Return the factors that have one number per row: b, and c if there is one, by name."""
        return {"b": self.b} if self.c is None else {"b": self.b, "c": self.c}

    @property
    def by_name(self) -> dict[str, Tensor]:
        """Return X, W, b, and c if there is one, by name."""
        return {**self.features(), **self.biases()}

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
    user_bias: bool = True,
) -> Factors:
    """Draw the notebook's starting values and return the rows of `users`.

    The values do not depend on the number of ranks. One generator draws X and W (both by
    `kaiming_uniform_(a=sqrt(5))`) and b (uniform within 1 / sqrt(K)) for all users, in float32 and on the
    run's device; float64 factors start from the same numbers. W is drawn in pieces of DRAW_AT_ONCE entries.
    On the CPU, that gives the notebook's numbers at any size; on other devices, as long as one piece holds
    all of W. Item biases, which the notebook does not have, start at zero. Without user biases, b is zeros.
    """
    generator = torch.Generator(device).manual_seed(seed)

    def draw_uniform(rows: int) -> Tensor:
        matrix = torch.empty(rows, num_features, device=device)
        return nn.init.kaiming_uniform_(matrix, a=math.sqrt(5), generator=generator)

    X = draw_uniform(num_items)
    W = torch.empty(len(users), num_features, device=device)
    rows_at_once = max(1, DRAW_AT_ONCE // num_features)
    for first_row in range(0, num_users, rows_at_once):
        piece = draw_uniform(min(rows_at_once, num_users - first_row))
        start, stop = max(users.start, first_row), min(users.stop, first_row + len(piece))
        if start < stop:
            W[start - users.start : stop - users.start] = piece[start - first_row : stop - first_row]
    bound = 1 / math.sqrt(num_features)
    b = nn.init.uniform_(torch.empty(1, num_users, device=device), -bound, bound, generator=generator)
    local_b = b[:, users.start : users.stop].contiguous()
    if not user_bias:
        local_b.zero_()
    c = torch.zeros(1, num_items, device=device, dtype=dtype) if item_bias else None
    return Factors(X.to(dtype), W.to(dtype), local_b.to(dtype), c)
