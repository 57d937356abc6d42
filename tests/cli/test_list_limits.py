"""Files of candidates, exclusions and users: what the lists then hold, and what is said."""

from pathlib import Path

import polars as pl
import pytest

from cofi_dist.errors import CofiError
from cofi_dist.kernels.first_compilation import COMPILING, FirstCompilation
from tests.support.commands import recommend
from tests.support.models import made_up


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """12 users u0000 and so on, and 30 items from 100 on; a model without its run's ratings."""
    made_up(tmp_path).save(tmp_path / "m")
    return tmp_path / "m"


def written(tmp_path: Path, name: str, *lines: str) -> Path:
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    return tmp_path / name


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What stderr got, without that the ratings are not there."""
    return [line for line in capsys.readouterr().err.splitlines() if "are not left out: " not in line]


def test_candidates_less_excluded_items_are_all_that_is_listed(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidates = written(tmp_path, "c.csv", "movieId", *map(str, range(100, 120)), "7", "100")
    exclude = written(tmp_path, "x.csv", "movieId", *map(str, range(100, 118)))
    output = tmp_path / "all.parquet"
    recommend(run, everyone=True, k=3, candidates=candidates, exclude=exclude, output=output)
    lists = pl.read_parquet(output)
    assert set(lists["movieId"]) == {118, 119}
    assert len(lists) == 2 * 12
    assert said(capsys) == [
        f"{candidates}: 1 of 22 items is a repeat",
        f"{candidates}: 1 of 21 items is unknown to the model; not used",
        f"the 3 best items of 12 users written to {output}",
        "12 of 12 users get fewer than 3 items: the model has 2 items of --candidates that --exclude leaves",
    ]
    recommend(run, user="u0003", k=3, candidates=candidates, exclude=exclude)
    assert said(capsys)[-1] == "2 of 3: the model has 2 items of --candidates that --exclude leaves"
    exclude = written(tmp_path, "x.csv", "movieId", *map(str, range(100, 120)))
    recommend(run, user="u0003", k=3, candidates=candidates, exclude=exclude)
    assert said(capsys)[-1] == (
        "nothing to list: the model has no item of --candidates that --exclude leaves; change --candidates or"
        " --exclude"
    )


def test_pairs_are_left_out_of_their_users_lists(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"u0003,{item}" for item in range(100, 129)]
    exclude = written(tmp_path, "x.csv", "userId,movieId", *rows, "u0004,100", "zoe,100", "u0004,1")
    recommend(run, user="u0003", k=3, exclude=exclude)
    out, err = capsys.readouterr()
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["129"]
    assert err.splitlines()[1:] == [
        f"{exclude}: 2 of 32 pairs are of unknown users or items; not used",
        "1 of 3: the model has 30 items, and user u0003 may not get the others",
    ]
    output = tmp_path / "all.csv"
    recommend(run, everyone=True, k=30, exclude=exclude, output=output)
    assert len(pl.read_csv(output)) == 12 * 30 - 30
    assert said(capsys)[-1] == (
        "2 of 12 users get fewer than 30 items: the model has 30 items, less those that a user may not get"
    )
    mine = written(tmp_path, "mine.csv", "movieId,rating", "100,4")
    with pytest.raises(CofiError, match=r"x\.csv: holds pairs of users of the model; with --ratings, give"):
        recommend(run, ratings=mine, exclude=exclude)


def test_lists_of_the_users_of_a_file_are_those_of_all(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everyone, some = tmp_path / "all.parquet", tmp_path / "some"
    recommend(run, everyone=True, k=4, output=everyone)
    of_all = pl.read_parquet(everyone)
    users = written(tmp_path, "u.csv", "userId,name", "u0007,Zoe", "zoe,Ann", "u0002,Bob")
    said(capsys)
    recommend(run, users=users, k=4, output=some)
    assert pl.read_parquet(some).equals(of_all.filter(pl.col("userId").is_in(["u0002", "u0007"])))
    assert said(capsys) == [
        f"{users}: 1 of 3 users is unknown to the model; not used",
        f"the 4 best items of 2 users written to {some}, in 1 part",
    ]
    written(tmp_path, "u.csv", "userId", *reversed([f"u{j:04}" for j in range(12)]))
    recommend(run, users=users, k=4, output=some, replace=True)
    assert pl.read_parquet(some).equals(of_all)


@pytest.mark.parametrize(
    ("option", "text", "says"),
    [
        ("users", "userId\nzoe\nann\n", "the model knows none of these 2 users; are they ids of its data?"),
        ("users", "movieId\n100\n", "line 1: no column 'userId' in movieId; name it so there"),
        ("candidates", "movieId\n1\n", "the model does not know this item; is it an id of its data?"),
        ("candidates", "title\nFilm\n", "line 1: no column 'movieId' in title; name it so there"),
        ("candidates", "movieId\n", "holds no items"),
        ("exclude", "userId\nu0001\n", "line 1: no column 'movieId' in userId"),
        ("exclude", "userId,movieId\nu0001,\n", "line 2: the item id is empty"),
        ("exclude", "", "is empty"),
    ],
)
def test_a_file_that_is_none_of_ids_is_named(
    option: str, text: str, says: str, run: Path, tmp_path: Path
) -> None:
    file = tmp_path / "f.csv"
    file.write_text(text)
    options = {option: file, "output": tmp_path / "o"} | ({} if option == "users" else {"everyone": True})
    with pytest.raises(CofiError) as caught:
        recommend(run, **options)
    assert str(caught.value).startswith(f"{file}: {says}")
    assert not (tmp_path / "o").exists()


def test_lists_of_many_users_say_when_the_first_loop_is_compiled(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FirstCompilation, "_listener", None)
    recommend(run, everyone=True, output=tmp_path / "all.parquet")
    assert COMPILING not in said(capsys)
    FirstCompilation.announce()
    assert said(capsys) == [COMPILING]
