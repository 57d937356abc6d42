"""Prepare a file once, train on it, on one rank and on two; as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cofi_dist.cli.main import app
from cofi_dist.cli.session import Session
from cofi_dist.data.preparation.store import StoredRatings
from tests.e2e.test_cli import cofi
from tests.support.ratings_files import random_table, save

TRAIN = """
model: {num_features: 4}
train: {epochs: 20, log_every: 10, lr: 0.01}
validation: {every: 5}
"""


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    cells = rng.choice(30 * 25, 300, replace=False)
    rows = [f"u{c // 25},{c % 25},{rng.integers(1, 11) / 2},{rng.integers(99)}" for c in cells]
    (tmp_path / "r.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows]) + "\n")
    splits = ["data.test={by: last, n: 2}", "data.validation={fraction: 0.1}"]
    done = cofi(
        "prepare", "r.csv", "--output", "ready", *splits, "data.centre=damped_item_mean", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "read 300 ratings of 30 users on 25 items"
    assert lines[-1] == "prepared in ready; to train on it, set data: {prepared: ready}"
    (tmp_path / "t.yaml").write_text("data: {prepared: ready}\n" + TRAIN)
    return tmp_path


def test_prepared_ratings_are_trained_on_as_they_were_prepared(ready: Path) -> None:
    done = cofi("train", "--config", "t.yaml", cwd=ready)
    assert done.returncode == 0, done.stderr
    assert not (ready / "runs/t/data").exists(), "the prepared ratings stay where they are"
    same = [
        "data={ratings: r.csv, centre: damped_item_mean}",
        "data.test={by: last, n: 2}",
        "data.validation={fraction: 0.1}",
    ]
    direct = cofi("train", "--config", "t.yaml", *same, "run_dir=direct", cwd=ready)
    assert direct.returncode == 0, direct.stderr
    assert direct.stdout == done.stdout
    other = cofi("train", "--config", "t.yaml", "data.centre=global_mean", "run_dir=other", cwd=ready)
    assert other.returncode == 0, other.stderr
    assert other.stdout != done.stdout, "a centring that is given is taken"


def test_two_ranks_print_the_same_and_evaluate_the_same(ready: Path) -> None:
    outputs = []
    for ranks in (1, 2):
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        run = f"run{ranks}"
        for args in (
            ["train", "--config", "t.yaml", f"run_dir={run}", "train.dtype=float64"],
            ["evaluate", run, "--output", f"{run}.json"],
        ):
            command = [*launch, "-m", "cofi_dist", *args]
            done = subprocess.run(
                command, cwd=ready, capture_output=True, text=True, check=False, timeout=250
            )
            assert done.returncode == 0, done.stderr
            outputs.append(done.stdout)
    assert outputs[0] == outputs[2]
    one, two = (json.loads((ready / f"run{ranks}.json").read_text()) for ranks in (1, 2))
    assert numbers(one) == pytest.approx(numbers(two), rel=1e-9)


def numbers(value: object) -> list[float]:
    """All numbers of nested dictionaries, in order."""
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers(inner)]
    return [float(value)] if isinstance(value, int | float) else []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (
            ["prepare", "r.csv", "--output", "ready"],
            "cofi-dist: ready: already exists; remove it or name another",
        ),
        (["prepare", "r.csv", "--output", "new", "train.epochs=3"], "prepare takes keys of data only"),
        (["prepare", "r.csv", "--output", "new", "data.ratings=t.csv"], "prepare reads r.csv; leave one of"),
        (["prepare", "r.csv", "--output", "new", "data.synthetic.seed=3"], "prepare reads r.csv; leave one"),
        (["prepare", "r.csv", "--output", "new", "data.fraction=3"], "data.fraction: unknown key"),
        (["prepare", "none.csv", "--output", "new"], "cofi-dist: none.csv: no such file"),
        (["prepare", "r.csv", "--output", "t.yaml/new"], "t.yaml is not a directory"),
        (
            ["train", "--config", "t.yaml", "data.prepared=none"],
            "none/manifest.json: cannot be read: No such file or directory; are the",
        ),
        (
            ["train", "--config", "t.yaml", "data.test={}"],
            "test: such settings were settled when they were prepared",
        ),
        (["train", "--config", "t.yaml", "data.duplicates=last"], "duplicates: such settings were settled"),
        (["train", "--config", "t.yaml", "run_dir=ready"], "this run would overwrite its own input ready"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(args: list[str], says: str, ready: Path) -> None:
    before = sorted(path.name for path in ready.rglob("*"))
    done = cofi(*args, cwd=ready)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in ready.rglob("*")) == before


def test_a_shell_may_unfold_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = random_table()
    (tmp_path / "year=1").mkdir()
    names = [str(save(table[k * 40 : (k + 1) * 40], Path("year=1", f"{k}.csv"))) for k in range(3)]
    for output, given in (("one", ["year=1"]), ("two", names)):
        options = ["--output", output, "data.test={}"]
        app(["prepare", *given, *options], standalone_mode=False, obj=Session())
    one, two = (StoredRatings(tmp_path / name) for name in ("one", "two"))
    assert one.fingerprint() == two.fingerprint()
    assert two.manifest["source"] == "year=1/0.csv and 2 more"


def test_events_are_prepared_and_opened_as_events(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("userId,movieId\n1,5\n1,6\n2,5\n1,5\n3,6\n3,7\n")
    refused = cofi("prepare", "clicks.csv", "--output", "ready", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.endswith("if the lines are events, such as clicks, set data.feedback: implicit\n")
    done = cofi("prepare", "clicks.csv", "--output", "ready", "data.feedback=implicit", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "read 6 events of 3 users on 3 items",
        "there is no column 'rating': each line is an event of strength 1",
        "duplicates: the strengths of 6 events summed over 5 pairs of user and item",
        "prepared in ready; to train on it, set data: {prepared: ready, feedback: implicit}",
    ]
    (tmp_path / "t.yaml").write_text("data: {prepared: ready}\n" + TRAIN)
    other = cofi("train", "--config", "t.yaml", cwd=tmp_path)
    assert (other.returncode, other.stdout) == (2, "")
    assert other.stderr == (
        "cofi-dist: data.feedback: explicit, but ready was prepared as implicit; set data.feedback: implicit,"
        " or prepare it again\n"
    )
