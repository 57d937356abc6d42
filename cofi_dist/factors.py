"""Hold the factors that a model learns: X, W, b and c.

K is the number of features.
"""

from dataclasses import dataclass

from torch import Tensor

# Names of the factors that have one number per row; the others are features, with K columns.
BIASES = ("b", "c")


@dataclass(frozen=True)
class Factors:
    """Hold the factors of one rank's items and users, on one device and of one dtype.

    Its items are all, or with `train.items: sharded` those that it owns.

    Attributes:
        X: item features, (num_items, K), the same on every rank that has all items.
        W: weights of this range's users, (users, K).
        b: biases of this range's users, (1, users), as in the notebook.
        c: item biases, (1, num_items), likewise; None if the model has none.
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
