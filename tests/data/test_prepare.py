"""Prepared ratings: the same from any file, whatever the size of the pieces; nothing lost in silence."""

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cofi_dist.config import Columns, Data, Split
from cofi_dist.data.item_means import item_offsets
from cofi_dist.data.preparation import spool, writers
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.readers import lines as line_runs
from cofi_dist.data.readers import parquet
from cofi_dist.data.sources.open import open_source, prepare_source
from cofi_dist.errors import CofiError, DataError, RunError
from cofi_dist.sharding.ranges import UserRange
from tests.support.prepared import prepared, read_ratings

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
    plain = file.with_suffix("") if file.suffix == ".gz" else file
    if plain.suffix == ".parquet":
        table.write_parquet(plain)
    elif plain.suffix == ".dat":
        plain.write_text("".join("::".join(map(str, row)) + "\n" for row in table.rows()))
    else:
        separator, header = ("," if plain.suffix == ".csv" else "\t"), plain.suffix != ".data"
        table.write_csv(plain, separator=separator, include_header=header)
    if file.suffix == ".gz":
        file.write_bytes(gzip.compress(plain.read_bytes()))
    return file


def test_every_format_and_any_order_prepare_the_same(tmp_path: Path) -> None:
    table, prints = random_table(), set()
    split = Split(by="last", n=2)
    for name in ("r.csv", "r.tsv", "r.dat", "r.data", "r.csv.gz", "r.dat.gz", "r.parquet"):
        for shuffled in (table, table.sample(fraction=1.0, shuffle=True, seed=5)):
            with prepared(save(shuffled, tmp_path / name), test=split) as stored:
                prints.add(stored.manifest["fingerprint"])
                assert stored.notes[0] == "read 120 ratings of 20 users on 15 items"
    assert len(prints) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.data())
def test_pieces_of_any_size_prepare_the_same(tmp_path: Path, data: st.DataObject) -> None:
    table = random_table(seed=data.draw(st.integers(0, 20)))
    if data.draw(st.booleans()):
        table = table.with_columns(pl.format("u{}", "userId").alias("userId"))
    name = data.draw(st.sampled_from(["r.csv", "r.dat", "r.parquet"]))
    file = save(table, tmp_path / name)
    keys = {"test": Split(by="random", fraction=0.3), "validation": Split(by="leave_one_out")}
    with prepared(file, **keys) as stored:
        want = stored.manifest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_runs, "CHUNK_BYTES", data.draw(st.integers(100, 3000)))
        patch.setattr(spool, "SPOOL_ROWS", data.draw(st.integers(10, 60)))
        patch.setattr(spool, "PIECE_ROWS", data.draw(st.integers(7, 60)))
        patch.setattr(writers, "PIECE_RATINGS", data.draw(st.integers(5, 60)))
        patch.setattr(parquet, "TABLE_ROWS", data.draw(st.integers(10, 200)))
        with prepared(file, **keys) as stored:
            assert stored.manifest == want
            check_transposed(stored)


def check_transposed(stored: StoredRatings) -> None:
    """The second order holds the same ratings as the first."""
    train = stored.load(UserRange(0, stored.num_users))
    folder = stored.directory
    start = np.load(folder / "train_item_start.npy")
    order = np.lexsort((train.user, train.item))
    assert np.array_equal(np.diff(start), np.bincount(train.item, minlength=stored.num_items))
    assert np.array_equal(np.load(folder / "train_user_by_item.npy"), train.user[order])
    assert np.array_equal(np.load(folder / "train_value_by_item.npy"), train.value[order])
    assert np.array_equal(stored.sums.count, np.diff(start))
    want = np.bincount(train.item, train.value, minlength=stored.num_items)
    np.testing.assert_allclose(stored.sums.total, want, rtol=1e-15)


def test_any_range_of_users_is_cut_from_the_whole(tmp_path: Path) -> None:
    with prepared(save(random_table(), tmp_path / "r.csv"), test=Split()) as stored:
        for part in ("train", "test"):
            whole = stored.load(UserRange(0, 20), part)
            for users in (UserRange(0, 20), UserRange(3, 11), UserRange(7, 7)):
                got = stored.load(users, part)
                mine = (whole.user >= users.start) & (whole.user < users.stop)
                assert np.array_equal(got.user, whole.user[mine] - users.start)
                assert np.array_equal(got.item, whole.item[mine])
                assert np.array_equal(got.value, whole.value[mine])


def test_values_are_kept_exactly(tmp_path: Path) -> None:
    table = random_table()
    assert read_kind(save(table, tmp_path / "half.csv")) == np.float32
    tenths = table.with_columns(rating=pl.col("rating") / 10)
    assert read_kind(save(tenths, tmp_path / "tenths.csv")) == np.float64


def read_kind(file: Path) -> np.dtype[np.floating]:
    with prepared(file) as stored:
        kind: np.dtype[np.floating] = np.load(stored.directory / "train_value.npy").dtype
        return kind


DOUBLED = "userId,movieId,rating,timestamp\n1,5,1.0,9\n2,5,4.0,9\n1,5,2.0,7\n1,6,3.0,1\n1,5,4.5,8\n"


def test_duplicates_are_refused_or_resolved_as_asked(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(DOUBLED)
    says = r"r\.csv: line 4: user 1 rated item 5 on line 2 already; keep one of them, or set data\.duplicates"
    with pytest.raises(DataError, match=says):
        read_ratings(tmp_path / "r.csv")
    for how, value in (("last", 4.5), ("mean", 2.5)):
        with prepared(tmp_path / "r.csv", duplicates=how) as stored:
            assert stored.load(UserRange(0, 2)).value.tolist() == [value, 3.0, 4.0]
            assert "2 ratings dropped" in stored.notes[1]


@pytest.mark.parametrize(("least_user", "least_item"), [(1, 8), (7, 1), (5, 5)])
def test_filters_leave_only_busy_users_and_items(least_user: int, least_item: int, tmp_path: Path) -> None:
    table = random_table()
    while True:
        stays = pl.all_horizontal(
            pl.len().over("userId") >= least_user, pl.len().over("movieId") >= least_item
        )
        left = table.filter(stays)
        if len(left) == len(table):
            break
        table = left
    keys = {"min_user_ratings": least_user, "min_item_ratings": least_item}
    with prepared(save(random_table(), tmp_path / "r.csv"), **keys) as stored:
        users, items = stored.ids
        assert users.raw.to_list() == sorted(set(table["userId"]))
        assert items.raw.to_list() == sorted(set(table["movieId"]))
        assert stored.manifest["num_ratings"]["train"] == len(table)
        dropped = 120 - len(table), 20 - len(users), 15 - len(items)
        assert f"dropped {dropped[1]} users, {dropped[2]} items and {dropped[0]} ratings" in stored.notes[-1]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"min_user_ratings": 1000},
            "min_user_ratings 1000, min_item_ratings 1: nothing is left; lower them",
        ),
        ({"test": {"by": "leave_one_out"}, "min_user_ratings": 1}, r"data\.test: holds out nothing"),
        ({"test": {"by": "time"}}, "line 1: no column 'timestamp'"),
        ({"test": {"fraction": 0.999999999}}, "nothing is left for training; hold out less"),
    ],
)
def test_what_leaves_nothing_is_refused(keys: dict[str, object], says: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("userId,movieId,rating\n1,5,1\n2,5,4\n")
    with pytest.raises(CofiError, match=says):
        read_ratings(tmp_path / "r.csv", **keys)
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


@pytest.mark.parametrize("cut", [0, 5, 60])
def test_a_broken_gz_is_named(cut: int, tmp_path: Path) -> None:
    content = gzip.compress(("userId,movieId,rating\n" + "".join(f"{k},1,3\n" for k in range(99))).encode())
    (tmp_path / "r.csv.gz").write_bytes(content[:cut] + b"junk")
    with pytest.raises(DataError, match=r"r\.csv\.gz: cannot be read: "):
        read_ratings(tmp_path / "r.csv.gz")


def test_a_file_without_line_ends_is_refused_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_runs, "CHUNK_BYTES", 50)
    monkeypatch.setattr(line_runs, "LONGEST_LINE", 100)
    for text in ("x" * 1000, 'userId,movieId,rating\n1,2,"' + "3\n" * 500):
        (tmp_path / "r.csv").write_text(text)
        with pytest.raises(DataError, match="of more than 100 bytes; is this a text file"):
            read_ratings(tmp_path / "r.csv")


def test_a_fault_far_into_the_file_is_named_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_runs, "CHUNK_BYTES", 64)
    lines = ["userId,movieId,rating", *(f"{k},1,3" for k in range(99))]
    lines[70] = "70,1,x"
    (tmp_path / "r.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match="line 71: the rating 'x' is not a finite number"):
        read_ratings(tmp_path / "r.csv")


def test_quoted_line_ends_may_fall_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "userId,movieId,rating\n" + "".join(f'"a\n""{k}",{k},3\n' for k in range(30))
    (tmp_path / "r.csv").write_text(text)
    want = read_ratings(tmp_path / "r.csv")[1].raw.to_list()
    assert sorted(want) == sorted(f'a\n"{k}' for k in range(30))
    for size in (1, 7, 30, 100):
        monkeypatch.setattr(line_runs, "CHUNK_BYTES", size)
        assert read_ratings(tmp_path / "r.csv")[1].raw.to_list() == want


def test_an_empty_field_elsewhere_is_no_fault_but_an_empty_line_of_commas_is(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("userId,movieId,rating,note\n1,5,1,\n2,5,4,x\n")
    assert len(read_ratings(tmp_path / "r.csv")[0]) == 2
    (tmp_path / "r.csv").write_text("userId,movieId,rating,note\n1,5,1,\n,,,\n")
    with pytest.raises(DataError, match="line 3: the user id is empty"):
        read_ratings(tmp_path / "r.csv")


def test_ids_that_turn_to_text_half_way_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_runs, "CHUNK_BYTES", 40)
    (tmp_path / "r.csv").write_text(
        "userId,movieId,rating\n" + "".join(f"{k},1,3\n" for k in range(9, 30)) + "007,1,3\n"
    )
    users = read_ratings(tmp_path / "r.csv")[1].raw.to_list()
    assert users == sorted(["007", *(str(k) for k in range(9, 30))])


def test_the_manifest_says_what_was_done(tmp_path: Path) -> None:
    file = save(random_table(), tmp_path / "r.csv")
    keys = {"centre": "damped_item_mean", "damping": 3.0, "validation": Split(seed=4)}
    with prepared(file, **keys) as stored:
        manifest = json.loads((stored.directory / "manifest.json").read_text())
        assert manifest["columns"] == Columns().model_dump()
        assert manifest["splits"] == {"validation": {"by": "random", "fraction": 0.2, "seed": 4}}
        assert stored.centre == ("damped_item_mean", 3.0)
        assert sum(manifest["num_ratings"].values()) == 120
        assert stored.scale == (0.5, 5.0)
        assert stored.parts == ("train", "validation")


def test_a_store_is_never_overwritten_and_its_absence_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="every node shares"):
        StoredRatings(tmp_path / "elsewhere")
    with prepared(save(random_table(), tmp_path / "r.csv")) as stored:
        manifest = stored.directory / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 1'))
        with pytest.raises(RunError, match="another version; prepare it again"):
            StoredRatings(stored.directory)


def test_prepare_writes_a_store_for_files_only(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("u,i,r\nann,3,1\n")
    data = Data(ratings=str(tmp_path / "r.csv"), columns=Columns(user="u", item="i", rating="r"))
    with prepare_source(data, tmp_path / "store") as ready:
        assert not (tmp_path / "store").exists()
        ready.keep(tmp_path / "store")
    users, items = open_source(data, tmp_path / "store").ids
    assert (users.raw.to_list(), items.raw.to_list()) == (["ann"], [3])
    made_up = Data.model_validate({"synthetic": {"num_users": 3, "num_items": 4, "num_ratings": 5}})
    with prepare_source(made_up, tmp_path / "none") as ready:
        ready.keep(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert [len(ids) for ids in open_source(made_up, tmp_path).ids] == [3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.csv", "store"]


def test_means_come_from_training_ratings_only(tmp_path: Path) -> None:
    table = random_table()
    with prepared(save(table, tmp_path / "r.csv"), test=Split(by="last", n=3)) as stored:
        train = stored.load(UserRange(0, 20))
        seen = np.bincount(train.item, minlength=15) > 0
        for item, mean in enumerate(item_offsets(stored.sums, "item_mean", None)):
            mine = train.value[train.item == item] if seen[item] else train.value
            assert mean == pytest.approx(mine.mean())
