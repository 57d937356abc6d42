"""Random tables of ratings, written as files of every kind."""

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd.compress}
SCHEMA = ["userId", "movieId", "rating", "timestamp"]


def random_table(
    num_users: int = 20, num_items: int = 15, num_ratings: int = 120, seed: int = 0
) -> pl.DataFrame:
    """Different pairs in random order, half stars, times with ties; ids far apart."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(num_users * num_items, num_ratings, replace=False)
    columns = (
        7 * (cells // num_items) + 3,
        10**10 - 11 * (cells % num_items),
        rng.integers(1, 11, num_ratings) / 2,
        rng.integers(0, 40, num_ratings),
    )
    return pl.DataFrame(dict(zip(SCHEMA, columns, strict=True)))


def save(table: pl.DataFrame, file: Path) -> Path:
    plain = file.with_suffix("") if file.suffix in PACK else file
    if plain.suffix == ".parquet":
        table.write_parquet(plain)
    elif plain.suffix == ".dat":
        plain.write_text("".join("::".join(map(str, row)) + "\n" for row in table.rows()))
    else:
        separator, header = ("," if plain.suffix == ".csv" else "\t"), plain.suffix != ".data"
        table.write_csv(plain, separator=separator, include_header=header)
    if file.suffix in PACK:
        file.write_bytes(PACK[file.suffix](plain.read_bytes()))
        plain.unlink()
    return file


def pairs_of(table: pl.DataFrame) -> set[tuple[int, int]]:
    """Raw (user, item) pairs of a table."""
    return set(table.select("userId", "movieId").rows())
