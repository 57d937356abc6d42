"""List the data sets that are known by name: where they are, how large they are, and their terms of use."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from cofi_dist.errors import ConfigError, DataError

MOVIELENS = "https://files.grouplens.org/datasets/movielens"
PAGE = "https://grouplens.org/datasets/movielens/"

UNSHARED = "for research; redistribution and commercial use need permission"
SHARE_ALIKE = "for research; shared on the same terms only; commercial use needs permission"


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Describe an archive of ratings.

    Attributes:
        name: the value of `data.name` that means it.
        url: of the zip archive.
        archive_bytes: size of the archive, for display; nothing is checked by it.
        unpacked_bytes: the size to which the archive may expand: that of its files, generously rounded up.
        md5: published checksum of the archive; None if the archive changes over time.
        folder: the folder in the archive that holds all files.
        ratings: name of the ratings file in the folder.
        titles: name of the file of titles in the folder; None if there is none.
        num_ratings: number of ratings.
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
        """Return the path of the ratings file, once the data set has been unpacked in `root`."""
        return Path(root) / self.folder / self.ratings


# Checksums: the .md5 files beside the archives. ml-latest-small is generated anew now and then, so it
# has none, and its figures are those of September 2018.
MOVIELENS_SETS = (
    DataSet(
        name="ml-100k",
        url=f"{MOVIELENS}/ml-100k.zip",
        archive_bytes=4_924_029,
        unpacked_bytes=25_000_000,
        md5="0e33842e24a9c977be4e0107933c0723",
        folder="ml-100k",
        ratings="u.data",
        titles="u.item",
        num_ratings=100_000,
        note=UNSHARED,
    ),
    DataSet(
        name="ml-1m",
        url=f"{MOVIELENS}/ml-1m.zip",
        archive_bytes=5_917_549,
        unpacked_bytes=30_000_000,
        md5="c4d9eecfca2ab87c1945afe126590906",
        folder="ml-1m",
        ratings="ratings.dat",
        titles="movies.dat",
        num_ratings=1_000_209,
        note=UNSHARED,
    ),
    DataSet(
        name="ml-10m",
        url=f"{MOVIELENS}/ml-10m.zip",
        archive_bytes=65_566_137,
        unpacked_bytes=300_000_000,
        md5="ce571fd55effeba0271552578f2648bd",
        folder="ml-10M100K",
        ratings="ratings.dat",
        titles="movies.dat",
        num_ratings=10_000_054,
        note=UNSHARED,
    ),
    DataSet(
        name="ml-20m",
        url=f"{MOVIELENS}/ml-20m.zip",
        archive_bytes=198_702_078,
        unpacked_bytes=1_000_000_000,
        md5="cd245b17a1ae2cc31bb14903e1204af3",
        folder="ml-20m",
        ratings="ratings.csv",
        titles="movies.csv",
        num_ratings=20_000_263,
        note=UNSHARED,
    ),
    DataSet(
        name="ml-25m",
        url=f"{MOVIELENS}/ml-25m.zip",
        archive_bytes=261_978_986,
        unpacked_bytes=1_300_000_000,
        md5="6b51fb2759a8657d3bfcbfc42b592ada",
        folder="ml-25m",
        ratings="ratings.csv",
        titles="movies.csv",
        num_ratings=25_000_095,
        note=UNSHARED,
    ),
    DataSet(
        name="ml-32m",
        url=f"{MOVIELENS}/ml-32m.zip",
        archive_bytes=238_950_008,
        unpacked_bytes=1_100_000_000,
        md5="d472be332d4daa821edc399621853b57",
        folder="ml-32m",
        ratings="ratings.csv",
        titles="movies.csv",
        num_ratings=32_000_204,
        note=SHARE_ALIKE,
    ),
    DataSet(
        name="ml-latest-small",
        url=f"{MOVIELENS}/ml-latest-small.zip",
        archive_bytes=978_202,
        unpacked_bytes=20_000_000,
        md5=None,
        folder="ml-latest-small",
        ratings="ratings.csv",
        titles="movies.csv",
        num_ratings=100_836,
        note=SHARE_ALIKE,
    ),
)
DATASETS = {data_set.name: data_set for data_set in MOVIELENS_SETS}


def find_data_set(name: str) -> DataSet:
    """Return the data set of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in DATASETS:
        raise ConfigError(f"data.name: no data set is called {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name]


def downloaded_ratings_file(name: str, root: str | Path) -> Path:
    """Return the ratings file of a data set that was downloaded into `root`.

    Raises:
        ConfigError: no data set has that name.
        DataError: it is not in `root`.
    """
    file = find_data_set(name).ratings_in(root)
    if not file.is_file():
        where = shlex.quote(str(root))
        raise DataError(f"{file}: is not there; get it by `cofi-dist data get {name} --root {where}`")
    return file
