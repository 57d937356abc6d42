"""Pass on all items that might be listed, on a CUDA device, by one product for each block of users."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cofi_dist.ranking.filters import Doubles
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.system.variables import read_variable

if TYPE_CHECKING:
    from torch import Tensor

# U users of a block, M items, K features.

DEVICE_SCORES = 2**27  # that are on the device at once; with what is made of them, about 2 GB


class DeviceFilter:
    """Compute scores on a device, in float32; it does for all users.

    Args:
        X: item features, (M, K) float64.
        offset: o, (M,) float64.
        device: as torch names it.
    """

    runs_on_threads = False

    def __init__(self, X: Doubles, offset: Doubles, device: str) -> None:
        import torch  # only whoever uses a device waits for it

        # it makes NVIDIA's libraries round float32 factors to 10 bits, whatever torch says
        self._is_double = read_variable("NVIDIA_TF32_OVERRIDE") not in ("", "0")
        self._dtype, self._device = torch.float64 if self._is_double else torch.float32, device
        self._X, self._offset = self._moved(X), self._moved(offset)

    @property
    def dtype(self) -> type[np.floating]:
        """Return in which precision scores are computed."""
        return np.float64 if self._is_double else np.float32

    def users_at_once(self, k: int) -> int:
        """Return the users of a block."""
        return max(1, DEVICE_SCORES // max(1, len(self._X)))

    def candidates(
        self, w: Doubles, margins: Doubles, k: int, left_out: UserItemPairs
    ) -> tuple[UserItemPairs, NDArray[np.int64]]:
        """Return the candidates; of a user without a margin, all items."""
        import torch

        user, item = (torch.from_numpy(rows).to(self._device) for rows in (left_out.user, left_out.item))
        with _full_products():
            scores = torch.addmm(self._offset, self._moved(w), self._X.T)
        scores[user, item] = -torch.inf
        if k >= scores.shape[1]:
            is_passed = torch.ones_like(scores, dtype=torch.bool)
        else:
            kth = scores.topk(k, dim=1, sorted=False).values.amin(dim=1)
            # rounded down; of a user without a margin it is nan, and all is passed on
            limits = (kth.double() - torch.from_numpy(margins).to(self._device)).to(self._dtype)
            limits = limits.nextafter(torch.full_like(limits, -torch.inf))
            is_passed = ~(scores < limits[:, None])
        is_passed[user, item] = False
        users, items = is_passed.nonzero(as_tuple=True)
        return UserItemPairs(users.cpu().numpy(), items.cpu().numpy()), np.empty(0, np.int64)

    def _moved(self, numbers: Doubles) -> "Tensor":
        import torch

        return torch.from_numpy(numbers).to(self._dtype).to(self._device)


@contextmanager
def _full_products() -> Iterator[None]:
    """Keep torch from rounding factors to fewer bits, as it may have been asked to."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
