"""Every mistake that the commands which use a model know."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cofi_dist.cli.main import main
from tests.support.commands import TORCHRUN, cofi

BAD = {
    "2.csv": "userId,movieId,rating\n1,1000,3\n2,1001,4\n",
    "off.csv": "movieId,rating\n1000,9\n",
    "word.csv": "movieId,rating\n1000,good\n",
    "none.csv": "movieId,rating\n7,3\n8,3\n",
    "double.csv": "movieId,rating\n1000,3\n1000,4\n",
    "twice.csv": "userId,movieId,rating\n1,1000,3\n1,1000,4\n",
    "users.csv": "userId\n1\n",
    "empty.csv": "userId,movieId,rating\n",
    "names.csv": "movieId,name\n1000,Film\n",
    "out.csv": "mine, untouched\n",
}
SCALE = "the rating of item 1000, 9, is outside the training ratings' scale, 0.5 to 5"
PREDICT = ["predict", "runs/c", "--pairs"]
RECOMMEND = ["recommend", "runs/c"]
LISTS = "--user, --ratings, --users and --all"
EXPLAIN = ["explain", "runs/c"]
MISTAKES: list[tuple[list[str], str]] = [
    (["evaluate", "nowhere"], "nowhere: no such directory; give that of a run or of a model"),
    (["evaluate", "r.csv"], "r.csv: is a file; give the directory of a run or of a model"),
    (["evaluate", "runs/plain"], "runs/plain: has no test or validation ratings; train with data.test set"),
    (["evaluate", "runs/c", "--part", "validation"], "runs/c: has no validation ratings; train with"),
    (
        ["evaluate", "runs/c", "--part", "test", "--ratings", "r.csv"],
        "--part chooses among the run's own ratings",
    ),
    (["evaluate", "runs/c", "--output", "out.csv"], "out.csv: already exists; give another --output"),
    (["evaluate", "runs/c", "--ratings", "absent.csv"], "absent.csv: no such file"),
    (["evaluate", "runs/c", "--ratings", "twice.csv"], "twice.csv: user 1 rates item 1000 twice"),
    (["evaluate", "runs/c", "--ratings", "empty.csv"], "empty.csv: "),
    ([*PREDICT, "absent.csv", "--output", "p.csv"], "absent.csv: no such file"),
    (
        [*PREDICT, "users.csv", "--output", "p.csv"],
        "users.csv: line 1: no column 'movieId' in userId; 2 columns",
    ),
    ([*PREDICT, "pairs.csv", "--output", "p.xls"], "--output p.xls: write .csv or .parquet"),
    ([*PREDICT, "pairs.csv", "--output", "out.csv"], "out.csv: already exists; give another --output"),
    ([*RECOMMEND], f"give one of {LISTS}"),
    ([*RECOMMEND, "--user", "1", "--all", "--output", "p.csv"], f"give one of {LISTS}"),
    ([*RECOMMEND, "--all"], "--all and --users need --output, a file or a directory"),
    ([*RECOMMEND, "--users", "users.csv"], "--all and --users need --output, a file or a directory"),
    ([*RECOMMEND, "--user", "1", "--output", "p.csv"], "--output is for --all and --users; leave it out"),
    ([*RECOMMEND, "--all", "--output", "p.txt"], "--output p.txt: write .csv or .parquet, or a directory"),
    ([*RECOMMEND, "--all", "--output", "out.csv"], "out.csv: already exists"),
    ([*RECOMMEND, "--all", "--output", "runs"], "runs: already exists; give another --output, or --replace"),
    ([*RECOMMEND, "--all", "--output", "runs", "--replace"], "runs: would be removed as a whole, but holds"),
    ([*RECOMMEND, "--user", "1", "--replace"], "--replace is for --output; leave it out"),
    ([*RECOMMEND, "--user", "1", "--exclude", "absent.csv"], "absent.csv: no such file"),
    ([*RECOMMEND, "--user", "1", "--candidates", "none.csv"], "none.csv: the model knows none of these 2"),
    ([*EXPLAIN, "--item", "1000"], "Missing option '--user'; see "),
    ([*EXPLAIN, "--user", "1", "--item", "7"], "the model has no item 7; it knows 40 items, such as 1000"),
    ([*EXPLAIN, "--user", "99", "--item", "1000"], "the model has no user 99; it knows 30 users, such as 1"),
    (["evaluate", "runs/c", "--replace"], "--replace is for --output FILE; leave it out"),
    (["evaluate", "runs/c", "--relevant", "nan"], "relevant is nan; give a rating"),
    ([*RECOMMEND, "--all", "--output", "p.csv", "--titles", "movies.csv"], "--titles are for one user's"),
    ([*RECOMMEND, "--user", "99"], "the model has no user 99; it knows 30 users, such as 1"),
    ([*RECOMMEND, "--user", "1", "--titles", "absent.csv"], "absent.csv: cannot be read: No such file"),
    ([*RECOMMEND, "--user", "1", "--titles", "names.csv"], "names.csv: no column 'title' in movieId, name"),
    ([*RECOMMEND, "--ratings", "absent.csv"], "absent.csv: no such file"),
    ([*RECOMMEND, "--ratings", "2.csv"], "2.csv: holds ratings of 2 users; give those of one"),
    ([*RECOMMEND, "--ratings", "off.csv"], f"off.csv: {SCALE}"),
    ([*RECOMMEND, "--ratings", "word.csv"], "word.csv: line 2: the rating 'good' is not a finite number"),
    ([*RECOMMEND, "--ratings", "none.csv"], "none.csv: the model knows none of these 2 items"),
    ([*RECOMMEND, "--ratings", "double.csv"], "double.csv: item 1000 is rated twice; leave one rating"),
    (["similar", "runs/c"], "give one of --item and --user"),
    (["similar", "runs/c", "--item", "7"], "the model has no item 7; it knows 40 items, such as 1000"),
]


@pytest.fixture
def told(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return a function that gives what a mistake prints on stderr; it runs in this process, to be quick."""

    def run(args: list[str]) -> str:
        monkeypatch.chdir(home)
        monkeypatch.setattr(sys, "argv", ["cofi-dist", *args])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        assert (left.value.code, out) == (2, ""), err
        return err

    return run


@pytest.mark.parametrize(("args", "says"), MISTAKES, ids=[" ".join(args) for args, _ in MISTAKES])
def test_a_mistake_is_one_line_and_leaves_everything_as_it_was(
    args: list[str], says: str, home: Path, told: Callable[..., str]
) -> None:
    for name, text in BAD.items():
        (home / name).write_text(text)
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    err = told(args)
    assert err.startswith(f"cofi-dist: {says}")
    assert len(err.splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["explain", "runs/c", "--user", "1"], "Missing option '--item'"),
        ([*RECOMMEND, "--user", "1", "-k", "0"], "Invalid value for '-k'"),
        (["evaluate", "runs/c", "--part", "train"], "Invalid value for '--part'"),
        (["export", "runs/c", "--format", "xyz", "--output", "x"], "Invalid value for '--format'"),
        (["evaluate", "runs/c", "--no"], "No such option: --no"),
        (["evaluat"], "No such command 'evaluat'"),
    ],
)
def test_a_wrong_option_is_named_on_one_line(args: list[str], says: str, told: Callable[..., str]) -> None:
    said = told(args)
    assert said.startswith(f"cofi-dist: {says}")
    assert said.endswith("--help`\n")
    assert "Value error" not in said
    assert len(said.splitlines()) == 1


def test_under_torchrun_a_mistake_is_said_once(home: Path) -> None:
    done = cofi("evaluate", "runs/plain", cwd=home, launcher=TORCHRUN)
    said = [line for line in done.stderr.splitlines() if line.startswith("cofi-dist: ")]
    assert done.returncode == 1
    assert len(said) == 1
    assert said[0].startswith("cofi-dist: runs/plain: has no test or validation ratings")
