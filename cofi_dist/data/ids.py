"""IdMap: which row of X or W belongs to which raw id."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

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
