"""Open or prepare the source of ratings that a config names: a file, arrays or made-up ratings."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cofi_dist.config import DataSection
from cofi_dist.data.datasets.catalog import downloaded_ratings_file
from cofi_dist.data.preparation.job import OnStep, say_nothing
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.readers.listing import Given
from cofi_dist.data.readers.ratings_files import RatingsFiles
from cofi_dist.data.readers.ratings_input import RatingsInput
from cofi_dist.data.sources.arrays import ArrayRatings
from cofi_dist.data.sources.base import Source
from cofi_dist.data.sources.split_on_load import SplitOnLoad
from cofi_dist.data.splits import held_out
from cofi_dist.errors import ConfigError
from cofi_dist.files.atomic import commit_directory, scratch_directory


@dataclass(frozen=True)
class PreparedSource:
    """Hold a source that was checked, and its prepared ratings in a temporary directory, if it needs them.

    Attributes:
        source: the ratings.
        temporary: directory of the prepared ratings; None if the source is read from where it is.
    """

    source: Source
    temporary: Path | None = None

    def keep(self, directory: Path) -> None:
        """Move prepared ratings to `directory`, before the `with` ends; do nothing if there are none."""
        if self.temporary is not None:
            commit_directory(self.temporary, directory)


@contextmanager
def prepare_source(
    data: DataSection,
    target: Path,
    given: RatingsInput | None = None,
    on_step: OnStep = say_nothing,
) -> Iterator[PreparedSource]:
    """Check the source to its last rating, and prepare a file or table of ratings in a temporary directory.

    One rank calls it, and keeps the result where all ranks can open it.

    Args:
        data: the config's section.
        target: where prepared ratings are to be kept; the temporary directory lies beside it.
        given: the table of ratings, if `data.table` says that it was given in Python.
        on_step: learns how far the preparation has come.

    Raises:
        DataError: the file, the line or the cell, and what is wrong.
        RunError: there is no room for the prepared ratings.
    """
    if data.is_prepared_by_run:
        from cofi_dist.data.preparation.pipeline import prepare  # slow to import, and needed once per run

        with scratch_directory(target) as scratch:
            temporary = scratch / "data"
            temporary.mkdir()
            prepare(given or RatingsFiles.of(ratings_files(data)), data, temporary, on_step)
            yield PreparedSource(StoredRatings(temporary), temporary)
        return
    if data.y is not None and data.r is not None:
        ArrayRatings(Path(data.y), Path(data.r), data.feedback).check_values()
    source = open_source(data, target)
    source.ratings_per_user()  # reads, and so checks, all of R
    yield PreparedSource(source)


def ratings_files(data: DataSection) -> Given:
    """Return what `data.ratings` names, or the path of the data set `data.name` in `data.root`.

    Raises:
        CofiError: there is no such data set, or it was not downloaded.
    """
    if data.name is not None:
        return downloaded_ratings_file(data.name, Path(data.root))
    if data.table is not None:
        raise ConfigError(
            f"data.table: {data.table} was given to cofi_dist.fit in Python; set data.ratings to files"
        )
    assert data.ratings is not None
    return data.ratings


def open_source(data: DataSection, store: Path) -> Source:
    """Open the source that the config names.

    Args:
        data: the config's section.
        store: directory in which `PreparedSource.keep` put the prepared ratings of a file.
    """
    if data.prepared is not None:
        stored = StoredRatings(Path(data.prepared))
        if stored.feedback != data.feedback:
            raise ConfigError(
                f"data.feedback: {data.feedback}, but {data.prepared} was prepared as {stored.feedback}; set"
                f" data.feedback: {stored.feedback}, or prepare it again"
            )
        return stored
    if data.synthetic is not None:
        from cofi_dist.data.sources.synthetic import SyntheticRatings
        from cofi_dist.data.sources.synthetic_events import SyntheticEvents

        shape = data.synthetic
        kind = SyntheticEvents if data.feedback == "implicit" else SyntheticRatings
        made_up = kind(shape.num_users, shape.num_items, shape.num_ratings, shape.seed)
        return SplitOnLoad(made_up, held_out(data))
    if data.y is not None and data.r is not None:
        return SplitOnLoad(ArrayRatings(Path(data.y), Path(data.r), data.feedback), held_out(data))
    return StoredRatings(store)
