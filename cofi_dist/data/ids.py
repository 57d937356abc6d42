"""IdMap: which row of X or W belongs to which raw id."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.errors import RunError


@dataclass(frozen=True)
class IdMap:
    """Row k belongs to `raw[k]`. Raw ids are integers or text, ascending, each once."""

    raw: pl.Series

    @classmethod
    def rows(cls, count: int) -> "IdMap":
        """Where the rows themselves are the ids, as in the notebook's arrays."""
        return cls(pl.int_range(count, eager=True).alias("id"))

    def __len__(self) -> int:
        return len(self.raw)

    def find(self, raw: pl.Series) -> NDArray[np.int64]:
        """The row of each raw id; -1 for an id that is not in the map.

        Args:
            raw: integers or text; text matches an integer id that is written so.
        """
        wanted = raw
        if self.raw.dtype == pl.String:
            wanted = raw.cast(pl.String)
        elif raw.dtype == pl.String:
            numbers = raw.cast(pl.Int64, strict=False)
            plain = pl.DataFrame({"raw": raw, "number": numbers})
            wanted = plain.select(
                pl.when(pl.col("number").cast(pl.String) == pl.col("raw")).then(pl.col("number"))
            )["number"]
        table = pl.DataFrame({"id": self.raw}).with_row_index("row")
        asked = pl.DataFrame({"id": wanted.cast(self.raw.dtype, strict=False)})
        rows = asked.join(table, on="id", how="left", maintain_order="left")["row"]
        found: NDArray[np.int64] = rows.cast(pl.Int64).fill_null(-1).to_numpy()
        return found

    def save(self, path: Path) -> None:
        """One Parquet column named `id`, in row order."""
        self.raw.to_frame("id").write_parquet(path)

    @classmethod
    def load(cls, path: Path) -> "IdMap":
        """Read what `save` wrote.

        Raises:
            RunError: the file is missing or isn't an id map.
        """
        try:
            return cls(pl.read_parquet(path, columns=["id"])["id"])
        except (OSError, pl.exceptions.PolarsError) as error:
            raise RunError(f"{path}: is not an id map: {error}") from None


def encode(raw: pl.Series) -> tuple[IdMap, pl.Series]:
    """The map of the ids in `raw`, and the row of each of its entries.

    Text is read as integers when every id is a plain decimal number (`7`, not `007` or `7.0`),
    so that rows follow the numbers' order; otherwise the order is that of the text.

    Args:
        raw: N ids, integers or text, none null.

    Returns:
        The map, and N rows as UInt32.
    """
    if raw.dtype == pl.String:
        numbers = raw.cast(pl.Int64, strict=False)
        if numbers.null_count() == 0 and (numbers.cast(pl.String) == raw).all():
            raw = numbers
    unique = raw.unique().sort()
    rows = pl.DataFrame({"id": unique}).with_row_index("row")
    joined = pl.DataFrame({"id": raw}).join(rows, on="id", how="left", maintain_order="left")
    return IdMap(unique.alias("id")), joined["row"]
