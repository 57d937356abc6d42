"""Map rows of X or W to raw ids, and back."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.errors import RunError
from cofi_dist.files.reading import open_regular, read_failure, shortened
from cofi_dist.files.written_file import checked_file
from cofi_dist.streams import silenced
from cofi_dist.words import counted

FEW = 16  # ids are searched for one by one in a map of more than so many times as many
DIGEST_IDS = 2**20  # ids that are hashed at a time
MOST_ROWS_PER_BYTE = 64  # of a Parquet file of ascending ids; observed were at most 2


@dataclass(frozen=True)
class IdMap:
    """Map row k to the id `raw[k]`. Raw ids are integers or text, ascending, without repetition."""

    raw: pl.Series

    def __repr__(self) -> str:
        first = "".join(f" {raw!r:.40}," for raw in self.raw.head(3))
        return f"IdMap({counted(len(self.raw), 'id')}:{first}{' ...' * (len(self.raw) > 3)})".replace(
            ",)", ")"
        )

    @classmethod
    def row_numbers(cls, count: int) -> "IdMap":
        """Use the row numbers as ids, as the notebook's arrays do."""
        return cls(pl.int_range(count, eager=True).alias("id"))

    def __len__(self) -> int:
        return len(self.raw)

    def find(self, raw: pl.Series) -> NDArray[np.int64]:
        """Return the row of each raw id; -1 for an id that is not in the map.

        Args:
            raw: integers or text; text matches an integer id only in its plain form, `7` but not `07`.
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
        asked = wanted.cast(self.raw.dtype, strict=False)
        if FEW * len(asked) < len(self):
            return self._searched(asked)
        table = pl.DataFrame({"id": self.raw}).with_row_index("row")
        rows = pl.DataFrame({"id": asked}).join(table, on="id", how="left", maintain_order="left")["row"]
        row_numbers: NDArray[np.int64] = rows.cast(pl.Int64).fill_null(-1).to_numpy()
        return row_numbers

    def _searched(self, asked: pl.Series) -> NDArray[np.int64]:
        """Return what `find` does, by halving: a table of all ids would need time and memory for each."""
        place = self.raw.search_sorted(asked).to_numpy().astype(np.int64)
        inside = np.minimum(place, len(self) - 1)
        is_found = (self.raw[inside] == asked).fill_null(False).to_numpy()
        return np.where(is_found, inside, -1)

    @property
    def digest(self) -> str:
        """Return the sha256 of all ids in row order: equal for equal maps, and for no others."""
        digest = hashlib.sha256(str(self.raw.dtype).encode())
        for ids in (self.raw[start : start + DIGEST_IDS] for start in range(0, len(self), DIGEST_IDS)):
            if ids.dtype == pl.String:
                digest.update(ids.str.len_bytes().to_numpy().tobytes())
                digest.update(ids.str.join().item().encode())
            else:
                digest.update(ids.to_numpy().tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write one Parquet column `id`, in row order.

        Raises:
            OSError: it cannot be written, as on a full disk.
        """
        with checked_file(path) as file:
            self.raw.to_frame("id").write_parquet(file)

    @classmethod
    def load(cls, path: Path, num_rows: int) -> "IdMap":
        """Read what `save` wrote.

        Args:
            path: the file.
            num_rows: number of ids that it must hold: the rows of what it belongs to.

        Raises:
            RunError: the file is missing, or is not such an id map.
        """
        try:
            with open_regular(path) as file, silenced(2):
                raw = _read_ids(file, num_rows)
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: {read_failure(error)}; copy it anew, or make it again") from None
        # a file that breaks the assumptions of polars makes it panic
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            why = shortened(error, quoted=False)
            raise RunError(f"{path}: is not an id map: {why}; copy it anew, or make it again") from None
        return cls(raw)


def _read_ids(file: BinaryIO, num_rows: int) -> pl.Series:
    """Read the only column of a Parquet file, after checks: a few bytes can unfold to a billion rows.

    Raises:
        ValueError: the file does not hold so many ascending ids; the message says so in plain words.
    """
    schema, size = pl.read_parquet_schema(file), file.seek(0, 2)
    if list(schema) != ["id"] or schema["id"] not in (pl.Int64, pl.String):
        columns = ", ".join(f"{name}: {dtype}" for name, dtype in schema.items())
        raise ValueError(f"must hold a column id of Int64 or String, not {shortened(columns, quoted=False)}")
    file.seek(0)
    found = pl.scan_parquet(file).select(pl.len()).collect().item()
    if found != num_rows:
        raise ValueError(f"holds {found:,} ids, not the {num_rows:,} of what they belong to")
    if found > MOST_ROWS_PER_BYTE * size:
        raise ValueError(f"holds {found:,} ids in {size:,} bytes, which are not so many different ones")
    file.seek(0)
    raw = pl.read_parquet(file)["id"]
    if len(raw) != num_rows or raw.null_count() or not bool((raw.slice(1) > raw.head(num_rows - 1)).all()):
        raise ValueError("holds ids that do not ascend, or not each of them once")
    return raw


def digests(ids: tuple[IdMap, IdMap]) -> dict[str, str]:
    """Return the digests of the users' and of the items' map."""
    users, items = ids
    return {"users": users.digest, "items": items.digest}
