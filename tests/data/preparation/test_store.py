"""Prepared ratings, opened."""

from pathlib import Path

import numpy as np
import pytest

from cofi_dist.config import SplitSection
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.errors import RunError
from cofi_dist.sharding.ranges import UserRange
from tests.support.prepared import prepared
from tests.support.ratings_files import random_table, save


def test_any_range_of_users_is_cut_from_the_whole(tmp_path: Path) -> None:
    with prepared(save(random_table(), tmp_path / "r.csv"), test=SplitSection()) as stored:
        for part in ("train", "test"):
            whole = stored.load(UserRange(0, 20), part)
            for users in (UserRange(0, 20), UserRange(3, 11), UserRange(7, 7)):
                got = stored.load(users, part)
                mine = (whole.user >= users.start) & (whole.user < users.stop)
                assert np.array_equal(got.user, whole.user[mine] - users.start)
                assert np.array_equal(got.item, whole.item[mine])
                assert np.array_equal(got.value, whole.value[mine])


def test_a_store_is_never_overwritten_and_its_absence_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="every node shares"):
        StoredRatings(tmp_path / "elsewhere")
    with prepared(save(random_table(), tmp_path / "r.csv")) as stored:
        manifest = stored.directory / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 1'))
        with pytest.raises(RunError, match="another version; prepare it again"):
            StoredRatings(stored.directory)
