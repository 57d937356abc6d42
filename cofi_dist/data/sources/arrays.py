"""The notebook's arrays, Y and R, as ratings."""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ratings import MOST_ROWS, Ratings
from cofi_dist.errors import DataError
from cofi_dist.files.reading import open_regular, read_failure
from cofi_dist.sharding.ranges import UserRange

CELLS_AT_ONCE = 2**22  # bounds the memory of a pass over the arrays


class ArrayRatings:
    """Y and R of .npy files, (num_items, num_users), mapped, never read whole.

    Y is taken as it is (the notebook's has the item mean removed); R is 1 where known, else 0.

    Raises:
        DataError: the file that isn't such an array, or the first cell that is wrong.
    """

    def __init__(self, y: Path, r: Path) -> None:
        self._y_file, self._r_file = y, r
        self._y, self._r = _map(y), _map(r)
        if self._y.shape != self._r.shape:
            raise DataError(f"{r}: has shape {self._r.shape}, but {y} has {self._y.shape}")
        self.num_items, self.num_users = self._y.shape
        if max(self._y.shape) > MOST_ROWS:
            raise DataError(
                f"{y}: has shape {self._y.shape}; at most {MOST_ROWS:,} items or users are possible"
            )
        self.scale = (-math.inf, math.inf)  # somebody centred them: a rating's bounds are not known

    @property
    def notes(self) -> list[str]:
        """Whether all ratings are equal; reads on until two differ."""
        first: Any = None
        for rows in self._rows():
            value = self._y[rows][np.asarray(self._r[rows]) != 0]
            if first is None and len(value):
                first = value[0]
            if (value != first).any():
                return []
        return [f"every rating is {float(first):g}: nothing can be learnt from equal ratings"]

    def ratings_per_user(self) -> NDArray[np.int64]:
        """(num_users,), the column sums of R."""
        counts = np.zeros(self.num_users, np.int64)
        for rows in self._rows():
            known = np.asarray(self._r[rows])
            wrong = np.argwhere((known != 0) & (known != 1))
            if len(wrong):
                row, column = rows.start + wrong[0][0], wrong[0][1]
                raise DataError(
                    f"{self._r_file}: [{row}, {column}] is {self._r[row, column]};"
                    " must be 1 where the rating is known, else 0"
                )
            counts += np.count_nonzero(known, axis=0)
        if not counts.any():
            raise DataError(f"{self._r_file}: no rating is known")
        return counts

    def fingerprint(self) -> str:
        """sha256 of the two files."""
        digest = hashlib.sha256()
        for path in (self._y_file, self._r_file):
            with open_regular(path) as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return f"sha256:{digest.hexdigest()}"

    def check_values(self) -> None:
        """Read Y where it is known; its first cell that is no finite number is an error."""
        for rows in self._rows():
            value = np.where(self._r[rows] != 0, self._y[rows], 0)
            wrong = np.argwhere(~np.isfinite(value))
            if len(wrong):
                row, column = wrong[0]
                cell = f"[{rows.start + row}, {column}]"
                raise DataError(f"{self._y_file}: {cell} is {value[row, column]}, but R says it is known")

    def load(self, users: UserRange) -> Ratings:
        """The ratings of these users; `user` counts from `users.start`."""
        parts = []
        for rows in self._rows():
            item, user = np.nonzero(self._r[rows, users.start : users.stop])
            value = self._y[rows, users.start : users.stop][item, user].astype(np.float64)
            parts.append((user, item + rows.start, value))
        user, item, value = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(user, kind="stable")
        return Ratings(user[order].astype(np.int32), item[order].astype(np.int32), value[order])

    def _rows(self) -> list[slice]:
        step = max(1, CELLS_AT_ONCE // self.num_users)
        return [slice(at, min(at + step, self.num_items)) for at in range(0, self.num_items, step)]


def _map(path: Path) -> NDArray[np.generic]:
    try:
        with open_regular(path):  # numpy would wait for a pipe
            array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DataError(f"{path}: {read_failure(error)}") from None
    # numpy takes whatever Python takes for a literal, and has no error of its own for a header that is none
    except Exception:
        raise DataError(f"{path}: is not a .npy array of numbers, or was cut off") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiub":
        raise DataError(f"{path}: must be a 2-D array of numbers, items x users")
    if 0 in array.shape:
        raise DataError(f"{path}: is empty: {array.shape[0]} items x {array.shape[1]} users")
    return array
