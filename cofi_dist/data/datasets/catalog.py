"""Data sets that are known by name: where they are, how large, under which terms."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from cofi_dist.errors import ConfigError, DataError

MOVIELENS = "https://files.grouplens.org/datasets/movielens"
PAGE = "https://grouplens.org/datasets/movielens/"

UNSHARED = "for research; redistribution and commercial use need permission"
SHARE_ALIKE = "for research; shared on the same terms only; commercial use needs permission"


@dataclass(frozen=True)
class DataSet:
    """An archive of ratings and what is known of it.

    Attributes:
        name: as `data.name` has it.
        url: of the zip archive.
        archive_bytes: its size, for display; nothing is checked by it.
        unpacked_bytes: the most it may expand to: the known sizes of its files, rounded up well.
        md5: of the archive as published beside it; None where the archive changes over time.
        folder: in which the archive holds everything.
        ratings: name of the ratings file in the folder.
        titles: name of the file of titles in the folder; None if it has none.
        num_ratings: how many there are.
        note: the terms of use in short.
    """

    name: str
    url: str
    archive_bytes: int
    unpacked_bytes: int
    md5: str | None
    folder: str
    ratings: str
    titles: str | None
    num_ratings: int
    note: str

    def ratings_in(self, root: str | Path) -> Path:
        """Where the ratings file is, once the data set has been unpacked in `root`."""
        return Path(root) / self.folder / self.ratings


def _movielens(
    name: str,
    archive_bytes: int,
    unpacked_bytes: int,
    md5: str | None,
    num_ratings: int,
    note: str,
    *,
    folder: str | None = None,
    files: tuple[str, str] = ("ratings.csv", "movies.csv"),
) -> DataSet:
    return DataSet(
        name=name,
        url=f"{MOVIELENS}/{name}.zip",
        archive_bytes=archive_bytes,
        unpacked_bytes=unpacked_bytes,
        md5=md5,
        folder=folder or name,
        ratings=files[0],
        titles=files[1],
        num_ratings=num_ratings,
        note=note,
    )


DAT = ("ratings.dat", "movies.dat")

# Checksums: the .md5 files beside the archives. ml-latest-small is generated anew now and then, so it
# has none, and its figures are those of September 2018.
DATASETS = {
    known.name: known
    for known in (
        _movielens(
            "ml-100k",
            4_924_029,
            25_000_000,
            "0e33842e24a9c977be4e0107933c0723",
            100_000,
            UNSHARED,
            files=("u.data", "u.item"),
        ),
        _movielens(
            "ml-1m", 5_917_549, 30_000_000, "c4d9eecfca2ab87c1945afe126590906", 1_000_209, UNSHARED, files=DAT
        ),
        _movielens(
            "ml-10m",
            65_566_137,
            300_000_000,
            "ce571fd55effeba0271552578f2648bd",
            10_000_054,
            UNSHARED,
            folder="ml-10M100K",
            files=DAT,
        ),
        _movielens(
            "ml-20m", 198_702_078, 1_000_000_000, "cd245b17a1ae2cc31bb14903e1204af3", 20_000_263, UNSHARED
        ),
        _movielens(
            "ml-25m", 261_978_986, 1_300_000_000, "6b51fb2759a8657d3bfcbfc42b592ada", 25_000_095, UNSHARED
        ),
        _movielens(
            "ml-32m", 238_950_008, 1_100_000_000, "d472be332d4daa821edc399621853b57", 32_000_204, SHARE_ALIKE
        ),
        _movielens("ml-latest-small", 978_202, 20_000_000, None, 100_836, SHARE_ALIKE),
    )
}


def data_set(name: str) -> DataSet:
    """The data set of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in DATASETS:
        raise ConfigError(f"data.name: no data set is called {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name]


def downloaded_ratings_file(name: str, root: str | Path) -> Path:
    """The ratings file of a known data set that is in `root`.

    Raises:
        ConfigError: no data set has that name.
        DataError: it is not in `root`.
    """
    file = data_set(name).ratings_in(root)
    if not file.is_file():
        where = shlex.quote(str(root))
        raise DataError(f"{file}: is not there; get it by `cofi-dist data get {name} --root {where}`")
    return file
