"""Ratings files, prepared for a test."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cofi_dist.config import DataSection
from cofi_dist.data.ids import IdMap
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.data.splits import Part
from cofi_dist.sharding.ranges import UserRange


@contextmanager
def prepared(file: Path, **keys: Any) -> Iterator[StoredRatings]:
    """The file as `prepare` leaves it, with these keys of the config's data section."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        target = Path(folder) / "prepared"
        with prepare_source(DataSection(ratings=str(file), **keys), target) as ready:
            ready.keep(target)
        yield StoredRatings(target)


def read_ratings(file: Path, **keys: Any) -> tuple[Ratings, IdMap, IdMap]:
    """All training ratings of a file, and the users' and the items' ids."""
    with prepared(file, **keys) as stored:
        return stored.load(UserRange(0, stored.num_users)), *stored.ids


def parts_of(stored: StoredRatings) -> dict[Part, set[tuple[int, int]]]:
    """Raw (user, item) pairs by part."""
    users, items = (ids.raw.to_numpy() for ids in stored.ids)
    loaded = {part: stored.load(UserRange(0, stored.num_users), part) for part in stored.parts}
    return {
        part: set(zip(users[r.user].tolist(), items[r.item].tolist(), strict=True))
        for part, r in loaded.items()
    }
