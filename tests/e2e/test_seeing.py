"""plot and report, as a user types them, and every mistake they know."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.runs import row, write_run

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
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env, check=False, timeout=100)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on one rank and one on two, both whole."""
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
            "error by popularity of the item is left out: a/model/factors.safetensors: no such file;"
            " is this the directory of a finished run?\n"
        )


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
        ("report", "broken", f"broken/metrics.jsonl: {broken}"),
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
    without = "import sys; sys.modules['matplotlib'] = None; from cofi_dist.cli import main; main()"
    for command in ("plot", "report"):
        done = cofi(command, "a", cwd=tmp_path, start=("-c", without))
        refused(done, "pictures need matplotlib; pip install 'cofi-dist[plot]'")
