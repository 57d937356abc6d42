"""`cofi-dist update` leaves a run directory that all other commands take, or nothing and one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from cofi_dist.cli.main import app
from cofi_dist.cli.session import Session
from cofi_dist.errors import CofiError
from cofi_dist.model import Model
from tests.support.commands import cofi, fine

CONFIG = """
data: {ratings: r.csv, test: {}, validation: {}}
model: {num_features: 4}
train: {optimizer: als, epochs: 5}
checkpoint: {resume: auto}
run_dir: run
"""
BEFORE = [(u, i, 1 + (u * i) % 5) for u in range(1, 20) for i in range(100, 110) if (u + i) % 3]
NEW = "userId,movieId,rating\n" + "".join(
    f"{u},{i},{r}\n" for u, i, r in (*BEFORE[:2], (3, 200, 5), (77, 100, 2))
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("update")
    text = "".join(f"{u},{i},{r}\n" for u, i, r in BEFORE)
    (place / "r.csv").write_text("userId,movieId,rating\n" + text)
    (place / "c.yaml").write_text(CONFIG)
    (place / "new.csv").write_text(NEW)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        run("train", "--config", "c.yaml")
    return place


def run(*given: object) -> None:
    app([str(each) for each in given], standalone_mode=False, obj=Session())


def test_an_update_is_a_run_directory(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = fine(cofi("update", "run", "--ratings", "new.csv", "--output", "up/date", cwd=place))
    first, second, *rest, last = printed.splitlines()
    assert first == "joined 4 ratings of 3 users on 3 items"
    assert second == "new: 1 user and 1 item"
    assert last == "3 users and 3 items solved on all their ratings; the model is in up/date"
    result = json.loads((place / "up/date/result.json").read_text())["update"]
    assert result["of"] == str(place / "run")
    assert result["replaced"] + result["held_out_before"] == 2
    assert len(rest) == bool(result["replaced"]) + bool(result["held_out_before"])
    monkeypatch.chdir(place)
    capsys.readouterr()
    run("recommend", "up/date", "--user", 77, "-k", 20)
    printed = capsys.readouterr().out
    assert " 200\n" in printed
    assert " 100\n" not in printed
    run("evaluate", "up/date")
    assert "ratings by" in capsys.readouterr().out
    run("train", "--config", "c.yaml", "run_dir=warm", "data={prepared: up/date/data}", "train.start=up/date")
    assert "users 20 found, 0 new, 0 gone; items 11 found" in capsys.readouterr().err
    Path("up/date").rename("moved")
    run("update", "moved", "--ratings", "new.csv", "--output", "again")
    assert "4 of them replace the one before" in capsys.readouterr().out
    once, twice = Model.load("moved"), Model.load("again")
    assert once.facts.fingerprint == twice.facts.fingerprint
    assert twice.rated().items_of(77).to_list() == [100]


def test_the_python_interface_gives_the_same_bits(place: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        run("update", "run", "--ratings", "new.csv", "--output", "same")
    model = Model.load(place / "run").update(pl.read_csv(place / "new.csv"))
    saved = Model.load(place / "same")
    assert all((tensor == saved.tensors[name]).all() for name, tensor in model.tensors.items())
    assert model.facts == saved.facts


BAD = {
    "empty.csv": ("userId,movieId,rating\n", "empty.csv: holds no ratings"),
    "columns.csv": ("user,item,stars\n1,2,3\n", "columns.csv: line 1: no column 'userId' in user, item"),
    "twice.csv": (
        "userId,movieId,rating\n1,100,3\n2,100,3\n1,100,4\n",
        "twice.csv: line 4: user 1 rated item 100 on line 2 already; keep one of them",
    ),
    "text.csv": (
        "userId,movieId,rating\nann,100,3\n",
        "text.csv: the ids of users are text, such as 'ann', and those of the model are whole numbers, such",
    ),
    "word.csv": ("userId,movieId,rating\n1,100,good\n", "word.csv: line 2: "),
}


@pytest.mark.parametrize("name", [*BAD, "absent.csv"])
def test_bad_ratings_are_one_line_and_leave_nothing(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    content, says = BAD.get(name, ("", "absent.csv: no such file"))
    if content:
        Path(name).write_text(content)
    with pytest.raises(CofiError) as error:
        run("update", "run", "--ratings", name, "--output", "bad")
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)
    assert not [path for path in os.listdir() if "bad" in path]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("update run --ratings new.csv --output r.csv", "r.csv: already exists; remove it or name another"),
        (
            "update run --ratings new.csv --output run/data/bad",
            "run/data/bad: is where run has files of its own",
        ),
        (
            "update nowhere --ratings new.csv --output bad",
            "nowhere: no such directory; give that of a run or of a model",
        ),
        (
            "update run --ratings new.csv --output bad --prepared x",
            "run: was not trained on prepared ratings",
        ),
        ("report done", "done: is the update of "),
        ("train --config c.yaml run_dir=done", "done: is the update of "),
    ],
)
def test_mistakes_are_one_line(words: str, says: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    if not Path("done").exists():
        run("update", "run", "--ratings", "new.csv", "--output", "done")
    with pytest.raises(CofiError) as error:
        run(*words.split())
    assert str(error.value).startswith(says)
    assert not Path("bad").exists()


def test_a_killed_update_leaves_nothing_of_its_name(place: Path) -> None:
    words = ["update", "run", "--ratings", "new.csv", "--output", "killed"]
    with subprocess.Popen(
        [sys.executable, "-m", "cofi_dist", *words], cwd=place, stderr=subprocess.PIPE
    ) as process:
        while process.poll() is None and not list(place.glob(".killed.*/new/*")):
            time.sleep(0.001)
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (place / "killed").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        run(*words)
    assert not list(place.glob(".killed.*"))
