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
def prepared(given: Path | list[str], **keys: Any) -> Iterator[StoredRatings]:
    """The files as `prepare` leaves them, with these keys of the config's data section."""
    ratings, beside = (given, Path(given[0])) if isinstance(given, list) else (str(given), given)
    with tempfile.TemporaryDirectory(dir=beside.parent) as folder:
        target = Path(folder) / "prepared"
        data = DataSection.model_validate({"ratings": ratings, **keys})
        with prepare_source(data, target) as ready:
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
