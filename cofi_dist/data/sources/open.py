"""Where the ratings come from: one interface over the file, the notebook's arrays and the seed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cofi_dist.config import Data
from cofi_dist.data.datasets.catalog import downloaded_ratings_file
from cofi_dist.data.preparation.pipeline import prepare_file
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.sources.arrays import ArrayRatings
from cofi_dist.data.sources.base import Source
from cofi_dist.data.sources.split_on_load import SplitOnLoad
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.data.splits import held_out
from cofi_dist.files.atomic import commit_directory, scratch_directory


@dataclass(frozen=True)
class PreparedSource:
    """A source that was checked.

    Attributes:
        source: of the ratings.
        keep: given the store's directory, puts prepared ratings there; does nothing for a source
            that needs none.
    """

    source: Source
    keep: Callable[[Path], None]


@contextmanager
def prepare_source(data: Data, target: Path) -> Iterator[PreparedSource]:
    """Check the source to its last rating; a ratings file is prepared in a temporary directory.

    Called on one rank, which keeps the result where all ranks open it.

    Args:
        data: the config's section.
        target: where prepared ratings would be kept; nothing is written to it here.

    Raises:
        DataError: the file, the line or the cell, and what is wrong.
        RunError: there is no room for the prepared ratings.
    """
    if data.is_file:
        with scratch_directory(target) as temporary:
            ready = temporary / "data"
            ready.mkdir()
            prepare_file(ratings_file(data), data, ready)
            yield PreparedSource(StoredRatings(ready), lambda directory: commit_directory(ready, directory))
        return
    if data.y is not None and data.r is not None:
        ArrayRatings(Path(data.y), Path(data.r)).check_values()
    source = open_source(data, target)
    source.ratings_per_user()  # reads all of R
    yield PreparedSource(source, lambda directory: None)


def ratings_file(data: Data) -> Path:
    """The file of `data.ratings`, or that of the known data set `data.name` in `data.root`.

    Raises:
        CofiError: there is no such data set, or it isn't there.
    """
    if data.name is not None:
        return downloaded_ratings_file(data.name, Path(data.root))
    assert data.ratings is not None
    return Path(data.ratings)


def open_source(data: Data, store: Path) -> Source:
    """The source that the config names; a ratings file as `prepare` left it in `store`."""
    if data.prepared is not None:
        return StoredRatings(Path(data.prepared))
    if data.synthetic is not None:
        made_up = data.synthetic
        whole = SyntheticRatings(made_up.num_users, made_up.num_items, made_up.num_ratings, made_up.seed)
        return SplitOnLoad(whole, held_out(data))
    if data.y is not None and data.r is not None:
        return SplitOnLoad(ArrayRatings(Path(data.y), Path(data.r)), held_out(data))
    return StoredRatings(store)
