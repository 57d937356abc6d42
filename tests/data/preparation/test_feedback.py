"""Events and weights: read, summed or averaged, stored and told about; older directories mean ratings."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cofi_dist.config import ColumnNames, DataSection, Feedback, SplitSection
from cofi_dist.data.item_means import item_offsets, item_sums
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.sources.open import open_source
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.errors import ConfigError, DataError, RunError
from cofi_dist.sharding.ranges import UserRange
from tests.support.prepared import prepared
from tests.support.ratings_files import random_table, save

WEIGHTED = ColumnNames(weight="w")
STRENGTHS = st.floats(1e-15, 1e15) | st.integers(1, 5).map(float)
Rows = list[tuple[int, int, float, float]]
ROWS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.floats(-5, 5), STRENGTHS), min_size=1, max_size=25
)
TMP_PATH_IS_REUSED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


def everything(stored: StoredRatings) -> dict[tuple[int, int], tuple[float, float]]:
    """Value and weight of each training pair, by raw ids."""
    ratings = stored.load(UserRange(0, stored.num_users))
    users, items = (ids.raw.to_list() for ids in stored.ids)
    weights = np.ones(len(ratings)) if ratings.weight is None else ratings.weight
    columns = (ratings.user, ratings.item, ratings.value, weights)
    return {(users[u], items[i]): (float(v), float(c)) for u, i, v, c in zip(*columns, strict=True)}


def by_pair(rows: Rows) -> dict[tuple[int, int], list[tuple[float, float]]]:
    """The values and weights of each pair, in the order of the file."""
    found = defaultdict(list)
    for user, item, value, weight in rows:
        found[user, item].append((value, weight))
    return found


def write(rows: Rows, file: Path) -> Path:
    return save(pl.DataFrame(rows, ["userId", "movieId", "rating", "w"], orient="row"), file)


@TMP_PATH_IS_REUSED
@given(ROWS, st.sampled_from(["r.csv", "r.tsv", "r.parquet", "r.dat"]))
def test_strengths_of_repeated_events_add_up(tmp_path: Path, rows: Rows, name: str) -> None:
    rows = [(user, item, strength, 1.0) for user, item, _, strength in rows]
    with prepared(write(rows, tmp_path / name), feedback="implicit") as stored:
        got, sums = everything(stored), stored.item_sums
        want = {pair: sum(value for value, _ in all_) for pair, all_ in by_pair(rows).items()}
        assert {pair: value for pair, (value, _) in got.items()} == pytest.approx(want, rel=1e-12)
        assert all(weight == 1 for _, weight in got.values())
        assert sums.given_weight is None
        assert sums.total.sum() == pytest.approx(sum(want.values()))
        assert stored.scale == (-np.inf, np.inf)
        assert stored.centre == ("none", None)


@TMP_PATH_IS_REUSED
@given(ROWS, st.sampled_from(["last", "mean"]), st.sampled_from(["r.csv", "r.parquet"]))
def test_weights_are_kept_and_weigh_means(tmp_path: Path, rows: Rows, policy: str, name: str) -> None:
    file = write(rows, tmp_path / name)
    with prepared(file, columns=WEIGHTED, duplicates=policy) as stored:
        want = {}
        for pair, all_ in by_pair(rows).items():
            total = sum(weight for _, weight in all_)
            mean = sum(value * (weight / total) for value, weight in all_)
            want[pair] = (mean, total) if policy == "mean" else all_[-1]
        got = everything(stored)
        assert got.keys() == want.keys()
        for pair, (value, weight) in want.items():
            assert got[pair] == pytest.approx((value, weight), rel=1e-12, abs=1e-12)
        all_are_one = all(weight == 1 for _, weight in got.values())
        assert (stored.directory / "train_weight.npy").exists() == (not all_are_one)
        assert (stored.item_sums.given_weight is None) == all_are_one
        check_sums(stored)


def check_sums(stored: StoredRatings) -> None:
    """The sums on disk are those of the ratings as they are loaded, by block and in one."""
    ratings = stored.load(UserRange(0, stored.num_users))
    again, kept = item_sums(ratings, stored.num_items, SoloComm()), stored.item_sums
    largest = float(kept.weight.max())
    for ours, theirs in ((again.total, kept.total), (again.count, kept.count), (again.weight, kept.weight)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * largest)


def test_a_weight_of_two_counts_as_the_rating_twice(tmp_path: Path) -> None:
    rows: Rows = [(1, 1, 4.0, 2.0), (2, 1, 1.0, 1.0), (2, 2, 3.0, 1.0)]
    with prepared(write(rows, tmp_path / "r.csv"), columns=WEIGHTED) as stored:
        sums = stored.item_sums
        assert item_offsets(sums, "item_mean", None).tolist() == [3.0, 3.0]
        assert item_offsets(sums, "damped_item_mean", 1.0).tolist() == [3.0, 3.0]
        assert item_offsets(sums, "global_mean", None).tolist() == [3.0, 3.0]
        assert sums.count.tolist() == [2.0, 1.0]


def test_weights_of_one_leave_no_trace(tmp_path: Path) -> None:
    table = random_table()
    with prepared(save(table, tmp_path / "r.csv")) as stored:
        want = stored.fingerprint()
    with prepared(save(table.with_columns(w=1), tmp_path / "r.csv"), columns=WEIGHTED) as stored:
        assert stored.fingerprint() == want
        assert not list(stored.directory.glob("*weight*"))
    with prepared(save(table.with_columns(w=2), tmp_path / "r.csv"), columns=WEIGHTED) as stored:
        assert stored.fingerprint() != want


def test_ratings_without_weights_keep_the_fingerprint_of_earlier_versions(tmp_path: Path) -> None:
    with prepared(save(random_table(), tmp_path / "r.csv"), test=SplitSection(by="last", n=2)) as stored:
        assert (
            stored.fingerprint() == "sha256:d03baf7d367218e19ff458f3fdc3e83eee029c35982340da289ebade15b6da09"
        )


def test_splits_take_weights_along(tmp_path: Path) -> None:
    table = random_table().with_row_index("row").with_columns(w=1.0 + pl.col("row") % 3)
    table = table.select("userId", "movieId", "rating", "timestamp", "w")
    keys: dict[str, Any] = {"columns": WEIGHTED, "min_user_ratings": 3, "test": SplitSection(by="last", n=2)}
    with prepared(save(table, tmp_path / "r.csv"), **keys) as stored:
        want = {(row["userId"], row["movieId"]): row["w"] for row in table.rows(named=True)}
        users, items = (ids.raw.to_list() for ids in stored.ids)
        for part in stored.parts:
            ratings = stored.load(UserRange(0, stored.num_users), part)
            assert ratings.weight is not None
            for user, item, weight in zip(ratings.user, ratings.item, ratings.weight, strict=True):
                assert weight == want[users[user], items[item]]
        train = stored.load(UserRange(0, stored.num_users))
        order = np.lexsort((train.user, train.item))
        assert train.weight is not None
        by_item = np.load(stored.directory / "train_weight_by_item.npy")
        assert np.array_equal(by_item, train.weight[order])
        half = stored.load(UserRange(stored.num_users // 2, stored.num_users))
        assert half.weight is not None
        assert np.array_equal(half.weight, train.weight[len(train) - len(half) :])


@pytest.mark.parametrize("name", ["r.csv", "r.tsv", "r.parquet", "r.dat", "r.data", "r.csv.gz"])
def test_lines_without_ratings_are_events_of_strength_1(name: str, tmp_path: Path) -> None:
    table = random_table().select("userId", "movieId")
    file = save(pl.concat([table, table[:7]]), tmp_path / name)
    with prepared(file, feedback="implicit") as stored:
        values = stored.load(UserRange(0, stored.num_users)).value
        assert sorted(values.tolist()) == [1.0] * 113 + [2.0] * 7
        assert stored.notes[0] == "read 127 events of 20 users on 15 items"
        assert "is an event of strength 1" in stored.notes[1]
        sums = "duplicates: the strengths of 127 events summed over 120 pairs of user and item"
        assert stored.notes[2] == sums
    says = r"if the lines are events, such as clicks, set data\.feedback: implicit"
    with pytest.raises(DataError, match=says), prepared(file):
        pass


def test_times_split_events_that_have_no_strength(tmp_path: Path) -> None:
    file = save(random_table().select("userId", "movieId", "timestamp"), tmp_path / "r.csv")
    with prepared(file, feedback="implicit", test=SplitSection(by="time")) as stored:
        assert stored.parts == ("train", "test")
        assert stored.notes[1] == "there is no column 'rating': each line is an event of strength 1"
        assert not any("duplicates" in note for note in stored.notes), "no event is repeated"


EVENTS: dict[str, object] = {"feedback": "implicit"}
HEAD = "userId,movieId,rating,w\n1,1,3,1\n"


@pytest.mark.parametrize(
    ("line", "keys", "says"),
    [
        ("1,2,0,1", EVENTS, "line 3: the strength '0' is not above 0; leave out what is no event"),
        ("1,2,-2.5,1", EVENTS, "line 3: the strength '-2.5' is not above 0; leave out what is no event"),
        (
            "1,2,nan,1",
            EVENTS,
            "line 3: the strength 'nan' is not a finite number; leave out what is no event",
        ),
        ("1,2,inf,1", EVENTS, "line 3: the strength 'inf' is not a finite number; leave out"),
        ("1,2,,1", EVENTS, "line 3: the strength '' is not a finite number; leave out"),
        (
            "1,2,1e16,1",
            EVENTS,
            r"line 3: the strength '1e16' is not between 1e-15 and 1e\+15; multiply the whole",
        ),
        ("1,2,1e-16,1", EVENTS, "line 3: the strength '1e-16' is not between"),
        (
            "1,2,3,0",
            {"columns": WEIGHTED},
            "line 3: the weight '0' is not above 0; leave out what counts for",
        ),
        ("1,2,3,-0.0", {"columns": WEIGHTED}, "line 3: the weight '-0.0' is not above 0"),
        ("1,2,3,", {"columns": WEIGHTED}, "line 3: the weight '' is not a finite number"),
        (
            "1,1,3,1",
            {"duplicates": "error"} | EVENTS,
            "user 1 has item 1 on line 2 already; keep one of them, or",
        ),
        (
            "1,2,3,1",
            {"columns": ColumnNames(weight="v")},
            "line 1: no column 'v' in userId, movieId, rating, w",
        ),
        ("1,2,3,1", {"columns": ColumnNames(rating="n")} | EVENTS, "line 1: no column 'n' in userId"),
    ],
)
def test_strengths_and_weights_that_cannot_be_are_refused(
    line: str, keys: dict[str, object], says: str, tmp_path: Path
) -> None:
    (tmp_path / "r.csv").write_text(f"{HEAD}{line}\n")
    with pytest.raises(DataError, match=rf"r\.csv: .*{says}") as caught, prepared(tmp_path / "r.csv", **keys):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0.0, "row 2: the strength 0.0 is not above 0; leave out what is no event, such as a dislike"),
        (-1.0, "row 2: the strength -1.0 is not above 0"),
        (float("nan"), "row 2: the strength nan is not a finite number; leave out what is no event"),
        (None, "row 2: there is no strength; leave out what is no event"),
    ],
)
def test_rows_of_parquet_are_refused_as_lines_are(value: float | None, says: str, tmp_path: Path) -> None:
    table = pl.DataFrame({"userId": [1, 1], "movieId": [1, 2], "rating": [2.0, value]})
    with (
        pytest.raises(DataError, match=says),
        prepared(save(table, tmp_path / "r.parquet"), feedback="implicit"),
    ):
        pass


def test_files_without_header_have_no_weights(tmp_path: Path) -> None:
    file, says = save(random_table(), tmp_path / "r.dat"), r"a \.dat file has no column of weights; write"
    with pytest.raises(DataError, match=says), prepared(file, columns=WEIGHTED):
        pass


def test_directories_of_earlier_versions_hold_ratings(tmp_path: Path) -> None:
    with prepared(save(random_table(), tmp_path / "r.csv")) as stored:
        manifest = dict(stored.manifest)
        del manifest["feedback"], manifest["weighted"], manifest["columns"]["weight"]
        (stored.directory / "manifest.json").write_text(json.dumps(manifest))
        older = open_source(DataSection(prepared=str(stored.directory)), tmp_path)
        assert older.feedback == "explicit"
        assert len(older.load(UserRange(0, 20))) == 120
        assert older.fingerprint() == stored.fingerprint()


def test_prepared_ratings_are_taken_as_what_they_were_prepared_as(tmp_path: Path) -> None:
    file = save(random_table(), tmp_path / "r.csv")
    kinds: tuple[Feedback, Feedback] = ("explicit", "implicit")
    for made, wanted in (kinds, kinds[::-1]):
        with prepared(file, feedback=made) as stored:
            where = str(stored.directory)
            assert open_source(DataSection(prepared=where, feedback=made), tmp_path).feedback == made
            says = f"data.feedback: {wanted}, but {where} was prepared as {made}; set data.feedback: {made}"
            with pytest.raises(ConfigError, match=says):
                open_source(DataSection(prepared=where, feedback=wanted), tmp_path)


@pytest.mark.parametrize("damage", ["gone", "zero", "cut off"])
def test_damaged_weights_are_found(damage: str, tmp_path: Path) -> None:
    table = random_table().with_columns(w=2)
    with prepared(save(table, tmp_path / "r.csv"), columns=WEIGHTED) as stored:
        file = stored.directory / "train_weight.npy"
        if damage == "gone":
            file.unlink()
        elif damage == "zero":
            np.save(file, np.zeros(120, np.float32))
        else:
            file.write_bytes(file.read_bytes()[:-4])
        with pytest.raises(RunError, match=r"train_weight\.npy: .*prepare"):
            StoredRatings(stored.directory).load(UserRange(0, 20))


@pytest.mark.parametrize("name", ["r.csv", "r.parquet", "r.dat"])
def test_repeated_events_are_named_where_they_are_refused(name: str, tmp_path: Path) -> None:
    file = save(pl.DataFrame({"userId": [1, 2, 1], "movieId": [5, 5, 5]}), tmp_path / name)
    line = {"r.csv": ("line 4", "line 2"), "r.parquet": ("row 3", "row 1"), "r.dat": ("line 3", "line 1")}[
        name
    ]
    says = (
        f"{line[0]}: user 1 has item 5 on {line[1]} already; keep one of them, or set data.duplicates to sum"
    )
    with pytest.raises(DataError, match=says), prepared(file, feedback="implicit", duplicates="error"):
        pass


@pytest.mark.filterwarnings("error")
def test_sums_that_overflow_are_refused(tmp_path: Path) -> None:
    rows: Rows = [(1, 1, 1.5e308, 2.0), (2, 1, 1.5e308, 2.0)]
    for columns in (ColumnNames(), WEIGHTED):
        file = write(rows, tmp_path / "r.csv")
        with (
            pytest.raises(DataError, match="sum to more than float64 holds"),
            prepared(file, columns=columns),
        ):
            pass


def test_weights_that_the_manifest_leaves_out_are_not_dropped(tmp_path: Path) -> None:
    with prepared(save(random_table().with_columns(w=2), tmp_path / "r.csv"), columns=WEIGHTED) as stored:
        manifest = {**stored.manifest, "weighted": []}
        (stored.directory / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(
            RunError, match=r"manifest\.json does not name the weights of train; prepare it again"
        ):
            StoredRatings(stored.directory)
