"""Load ratings from the notebook's arrays Y and R."""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Feedback
from cofi_dist.data.ratings import EQUAL_RATINGS, MOST_ROWS, Ratings
from cofi_dist.data.readers.column_kinds import LARGEST, SMALLEST, number_fault
from cofi_dist.errors import DataError
from cofi_dist.files.reading import open_regular, read_failure
from cofi_dist.sharding.ranges import UserRange

CELLS_AT_ONCE = 2**22  # cells in memory during a pass over the arrays


class ArrayRatings:
    """Load ratings from .npy files of Y and R, which are mapped and never read whole: an `UnsplitSource`.

    Y is taken as it is; the notebook has removed the item means, or Y holds the strengths of events. R is 1
    if the rating is known, else 0.

    Args:
        y: file of Y, (num_items, num_users).
        r: file of R, of the same shape.
        feedback: whether Y holds ratings, or the strengths of events.

    Raises:
        DataError: a file does not hold such an array, or the first wrong cell.
    """

    def __init__(self, y: Path, r: Path, feedback: Feedback = "explicit") -> None:
        self.feedback = feedback
        self._y_file, self._r_file = y, r
        self._y, self._r = _map(y), _map(r)
        if self._y.shape != self._r.shape:
            raise DataError(f"{r}: has shape {self._r.shape}, but {y} has {self._y.shape}")
        self.num_items, self.num_users = self._y.shape
        if max(self._y.shape) > MOST_ROWS:
            raise DataError(
                f"{y}: has shape {self._y.shape}; at most {MOST_ROWS:,} items or users are possible"
            )
        self.scale = (-math.inf, math.inf)  # the ratings were centred, so their bounds are unknown

    @property
    def notes(self) -> list[str]:
        """Say so if all ratings are equal; reads until two differ."""
        if self.feedback == "implicit":
            return []
        first: Any = None
        for rows in self._rows():
            value = self._y[rows][np.asarray(self._r[rows]) != 0]
            if first is None and len(value):
                first = value[0]
            if (value != first).any():
                return []
        return [f"every rating is {float(first):g}: {EQUAL_RATINGS}"]

    def ratings_per_user(self) -> NDArray[np.int64]:
        """Count each user's ratings, the column sums of R: (num_users,).

        Raises:
            DataError: R holds another value than 0 and 1, or no rating is known.
        """
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
        """Return the sha256 of the two files."""
        digest = hashlib.sha256()
        for path in (self._y_file, self._r_file):
            with open_regular(path) as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return f"sha256:{digest.hexdigest()}"

    def check_values(self) -> None:
        """Raise DataError at the first known cell of Y that is not a finite number, or no strength."""
        for rows in self._rows():
            value = np.where(self._r[rows] != 0, self._y[rows], 0)
            wrong = np.argwhere(~np.isfinite(value))
            if len(wrong):
                row, column = wrong[0]
                cell = f"[{rows.start + row}, {column}]"
                raise DataError(f"{self._y_file}: {cell} is {value[row, column]}, but R says it is known")
            if self.feedback == "implicit":
                self._require_strengths(rows, value)

    def _require_strengths(self, rows: slice, value: NDArray[np.generic]) -> None:
        strength = value.astype(np.float64)
        wrong = np.argwhere(((strength < SMALLEST) | (strength > LARGEST)) & (self._r[rows] != 0))
        if len(wrong):
            row, column = wrong[0]
            fault = number_fault("strength", float(strength[row, column]), str(value[row, column]))
            how = ", by a 0 in R" if strength[row, column] <= 0 else ""
            raise DataError(f"{self._y_file}: [{rows.start + row}, {column}]: {fault}{how}")

    def load(self, users: UserRange) -> Ratings:
        """Load the ratings of these users; `user` counts from `users.start`."""
        columns = []
        for rows in self._rows():
            item, user = np.nonzero(self._r[rows, users.start : users.stop])
            value = self._y[rows, users.start : users.stop][item, user].astype(np.float64)
            columns.append((user, item + rows.start, value))
        user, item, value = (np.concatenate(column) for column in zip(*columns, strict=True))
        order = np.argsort(user, kind="stable")
        return Ratings(user[order].astype(np.int32), item[order].astype(np.int32), value[order])

    def _rows(self) -> list[slice]:
        """Cut the items into slices of about CELLS_AT_ONCE cells."""
        step = max(1, CELLS_AT_ONCE // self.num_users)
        return [slice(start, min(start + step, self.num_items)) for start in range(0, self.num_items, step)]


def _map(path: Path) -> NDArray[np.generic]:
    try:
        with open_regular(path):  # numpy would wait forever for a pipe
            array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DataError(f"{path}: {read_failure(error)}") from None
    # numpy evaluates the header as a Python literal, and has no error of its own for a malformed one
    except Exception:
        raise DataError(f"{path}: is not a .npy array of numbers, or was cut off") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiub":
        raise DataError(f"{path}: must be a 2-D array of numbers, items x users")
    if 0 in array.shape:
        raise DataError(f"{path}: is empty: {array.shape[0]} items x {array.shape[1]} users")
    return array
