"""plot, report and compare, as a user types them, and every mistake they know."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cofi_dist.model import Model
from tests.support.models import made_up, trained
from tests.support.runs import run
from tests.support.written_runs import row, write_run

CONFIG = """
data: {synthetic: {num_users: 40, num_items: 60, num_ratings: 900}, test: {}, validation: {}}
model: {num_features: 4}
train: {epochs: 40, log_every: 10, lr: 0.02}
validation: {every: 10}
"""
PNG = b"\x89PNG\r\n\x1a\n"
Done = subprocess.CompletedProcess[str]


def cofi(*args: object, cwd: Path, start: tuple[str, ...] = ("-m", "cofi_dist")) -> Done:
    command = [sys.executable, "-W", "error", *start, *map(str, args)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env, check=False, timeout=250)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished run of one rank and one of two."""
    home = tmp_path_factory.mktemp("seeing")
    (home / "one.yaml").write_text(CONFIG)
    (home / "two.yaml").write_text(CONFIG.replace("lr: 0.02", "lr: 0.01"))
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "cofi_dist")
    alone = subprocess.run(
        [sys.executable, "-m", "cofi_dist", "train", "--config", "one.yaml"],
        cwd=home,
        capture_output=True,
        check=False,
    )
    both = subprocess.run(
        [sys.executable, *torchrun, "train", "--config", "two.yaml"],
        cwd=home,
        capture_output=True,
        check=False,
    )
    assert (alone.returncode, both.returncode) == (0, 0), alone.stderr + both.stderr
    return home


def with_model(directory: Path, costs: list[float], model: Model, **changed: np.ndarray) -> None:
    """Write a run by hand, with a model of these factors instead of its own."""
    write_run(directory, [row(10 * k + 1, cost) for k, cost in enumerate(costs)])
    replace(model, arrays=replace(model.arrays, **changed)).save(directory / "model")


def refused(done: Done, message: str) -> None:
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"cofi-dist: {message}\n"


def test_a_run_is_drawn_into_its_directory_and_drawn_anew(home: Path) -> None:
    for _ in range(2):
        done = cofi("plot", "runs/two", cwd=home)
        assert (done.returncode, done.stdout, done.stderr) == (0, "runs/two/plot.png\n", "")
    assert (home / "runs/two/plot.png").read_bytes().startswith(PNG)


def test_several_runs_are_drawn_into_one_picture(home: Path, tmp_path: Path) -> None:
    runs = [home / "runs/one", home / "runs/two"]
    done = cofi("plot", *runs, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "plot.png\n", "")
    refused(
        cofi("plot", *runs, cwd=tmp_path),
        "plot.png: already exists; give another --output, or --replace",
    )
    assert cofi("plot", *runs, "--replace", cwd=tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_a_run_is_reported_with_its_evaluation(home: Path) -> None:
    assert cofi("evaluate", "runs/one", "--output", "runs/one/test.json", cwd=home).returncode == 0
    for _ in range(2):
        done = cofi("report", "runs/one", cwd=home)
        assert (done.returncode, done.stdout, done.stderr) == (0, "runs/one/report.html\n", "")
    text = (home / "runs/one/report.html").read_text()
    assert "test.json, by evaluate" in text
    assert "hit rate" in text
    assert "made-up ratings" in text


def test_a_run_without_its_model_says_what_is_left_out(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    for command in ("plot", "report"):
        done = cofi(command, "a", cwd=tmp_path)
        assert done.returncode == 0
        assert done.stderr == (
            "figures by popularity of the item are left out: a/model/factors.safetensors: no such file;"
            " is this the directory of a finished run?\n"
        )


def test_events_of_which_none_were_held_out_still_have_lists(tmp_path: Path) -> None:
    events = "synthetic: {num_users: 40, num_items: 60, num_ratings: 900}, feedback: implicit"
    trained(tmp_path, f"data: {{{events}}}\ntrain: {{optimizer: als, epochs: 3}}\n")
    done = cofi("report", "run", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "run/report.html\n")
    assert "no events were held out that lists could find" in done.stderr
    assert "Lists of some users" in (tmp_path / "run/report.html").read_text()


def test_a_file_that_we_did_not_write_is_not_lost(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    for command, name in (("plot", "plot.png"), ("report", "report.html")):
        (run / name).write_text("mine")
        refused(
            cofi(command, "a", cwd=tmp_path),
            f"a/{name}: already exists; give another --output, or --replace",
        )
        assert (run / name).read_text() == "mine"
        assert cofi(command, "a", "--replace", cwd=tmp_path).returncode == 0


def test_what_is_no_run_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "file").touch()
    (write_run(tmp_path / "broken") / "metrics.jsonl").write_text('{"epoch": 1,\n')
    broken = "line 1: is not JSON: Expecting property name enclosed in double quotes"
    for command, name, message in (
        ("plot", "none", "none: no such directory"),
        ("plot", "file", "file: is a file"),
        ("plot", "other", "other: has no metrics.jsonl; is it a run's?"),
        ("report", "broken", f"broken/metrics.jsonl: {broken}; it is damaged: mend or remove that line"),
    ):
        refused(cofi(command, name, cwd=tmp_path), message)
    assert not list(tmp_path.rglob("*.png")) + list(tmp_path.rglob("*.html"))


def test_an_output_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    (tmp_path / "d.png").mkdir()
    refused(cofi("plot", "a", "--output", "a.pdf", cwd=tmp_path), "--output a.pdf: write .png")
    refused(cofi("report", "a", "--output", "a.png", cwd=tmp_path), "--output a.png: write .html")
    refused(
        cofi("plot", "a", "--output", "d.png", "--replace", cwd=tmp_path),
        "d.png: is a directory; give another --output",
    )


def test_runs_that_cannot_be_drawn_are_one_line(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [row(1, float("nan")) | {"seconds": 0.0}])
    done = cofi("plot", "a", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "cofi-dist: a: has nothing to draw: no cost in it is a positive number"
    )
    refused(cofi("plot", "a", "./a/", cwd=tmp_path), f"{tmp_path}/a: given 2 times; give each run once")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    without = "import sys; sys.modules['matplotlib'] = None; from cofi_dist.cli.main import main; main()"
    for command in ("plot", "report"):
        done = cofi(command, "a", cwd=tmp_path, start=("-c", without))
        refused(done, "pictures need matplotlib: pip install 'cofi-dist[plot]'")


def test_runs_of_the_same_bits_are_told(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    for name in "ab":
        with_model(tmp_path / name, [9.0, 8.0], model)
    done = cofi("compare", "a", "b", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[1].split() == ["cost", "same", "bits", "2", "epochs"]
    assert [line.split()[0] for line in lines[2:5]] == ["X", "W", "b"]
    assert lines[-1] == "bit-identical"
    result = {"epoch": 11, "seconds": 1.0, "fingerprint": "x", "pruned": "after epoch 11: 0.9 is too high"}
    (tmp_path / "b" / "result.json").write_text(json.dumps(result))
    done = cofi("compare", "a", "b", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        0,
        "b: was pruned by a search, after epoch 11: 0.9 is too high\n",
    )


def test_where_runs_differ_and_by_how_much_is_told(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    X = model.arrays.by_name["X"].copy()
    X[3, 1] += 0.25
    X[7, 2] -= 0.5
    with_model(tmp_path / "a", [9.0, 8.0, 7.0, 6.0], model)
    with_model(tmp_path / "b", [9.0, 8.5, 5.0], model, X=X)
    narrow = {name: model.arrays.by_name[name][:, :3].copy() for name in ("X", "W")}
    with_model(tmp_path / "c", [9.0], model, **narrow)
    done = cofi("compare", "a", "b", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    cost, of_X, of_W, of_b = (" ".join(line.split()) for line in done.stdout.splitlines()[1:5])
    assert cost == "cost 2 epoch 21 first in epoch 11; 1 only in one run"
    assert of_X.startswith("X 0.5 [7 2] sha256 ")
    assert of_W.startswith("W same bits sha256 ")
    assert of_b.startswith("b same bits sha256 ")
    assert done.stdout.endswith("\nnot bit-identical\n")
    done = cofi("compare", "a", "c", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "W - float64 (12, 4) and float64 (12, 3)" in " ".join(done.stdout.split())


def test_runs_without_models_are_compared_by_checkpoints_of_one_epoch(tmp_path: Path) -> None:
    for name, epochs, *seed in (("a", 20), ("b", 20), ("c", 20, "seed=2"), ("d", 30)):
        shutil.rmtree(run(tmp_path, 1, epochs, name, *seed) / "model")
    same, other = cofi("compare", "a", "b", cwd=tmp_path), cofi("compare", "a", "c", cwd=tmp_path)
    assert (same.returncode, same.stderr) == (0, "")
    assert {"X", "W.mean", "c.best"} <= {
        line.partition("same bits")[0].strip() for line in same.stdout.splitlines()
    }
    assert (other.returncode, other.stdout.splitlines()[-1]) == (1, "not bit-identical")
    refused(
        cofi("compare", "a", "d", cwd=tmp_path),
        "d: its newest checkpoint is of epoch 30, that of a of epoch 20, and neither run has a model;"
        " train both to the same epoch",
    )


def test_runs_that_cannot_be_compared_are_one_line(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    refused(
        cofi("compare", "a", "b", cwd=tmp_path),
        "a: has neither a model nor a whole checkpoint to compare; is the run finished?",
    )
    with_model(tmp_path / "c", [9.0], made_up(tmp_path))
    refused(cofi("compare", "c", "b", cwd=tmp_path), "b: has no model to compare; is the run finished?")
