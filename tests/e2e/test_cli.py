"""The commands, as a user types them, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch


def cofi(*args: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cofi_dist", *map(str, args)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **env}, check=False, timeout=250
    )


def test_train_then_export(here: Path) -> None:
    done = cofi("train", "--config", "tiny.yaml", "seed=3", cwd=here)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == ["Using cpu device", "Num. features: 4", "Num. movies:   40", "Num. users:    30"]
    assert [line.split()[0] for line in lines[4:]] == ["Initial", "Epoch", "1", "10", "20"]
    assert "world size 1, backend none" in done.stderr
    assert "The model is in runs/tiny/model" in done.stderr
    run = here / "runs" / "tiny"
    assert sorted(p.name for p in run.iterdir()) == [
        ".cofi_dist",
        "config.yaml",
        "metrics.jsonl",
        "model",
        "result.json",
        "shards.json",
        "train.log",
    ]
    assert "seed: 3" in (run / "config.yaml").read_text()
    command = next(line for line in done.stderr.splitlines() if line.startswith("  cofi-dist export"))
    exported = cofi(*command.split()[1:], cwd=here)
    assert exported.returncode == 0, exported.stderr
    assert torch.load(run / "export" / "b.pt", weights_only=True).shape == (1, 30)


def test_a_run_is_not_lost_unasked(here: Path) -> None:
    assert cofi("train", "--config", "tiny.yaml", cwd=here).returncode == 0
    before = (here / "runs/tiny/metrics.jsonl").read_text()
    again = cofi("train", "--config", "tiny.yaml", cwd=here)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith("cofi-dist: runs/tiny: already holds a run")
    assert (here / "runs/tiny/metrics.jsonl").read_text() == before
    replaced = cofi("train", "--config", "tiny.yaml", "--replace", "train.epochs=5", cwd=here)
    assert replaced.returncode == 0
    assert len((here / "runs/tiny/metrics.jsonl").read_text().splitlines()) == 1


def test_bad_ratings_leave_nothing_behind(here: Path) -> None:
    (here / "r.csv").write_text("userId,movieId,rating\n1,1,4\n1,2,oops\n")
    done = cofi("train", "--config", "tiny.yaml", "data.synthetic=null", "data.ratings=r.csv", cwd=here)
    assert done.returncode == 2
    assert done.stderr == "cofi-dist: r.csv: line 3: the rating 'oops' is not a finite number\n"
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    "refused",
    [
        [
            "data={synthetic: {num_users: 3000000, num_items: 3000000, num_ratings: 10000}}",
            "train.cost=dense",
        ],
        ["data={y: Y.npy, r: R.npy}"],
        ["data={ratings: none.csv}"],
    ],
    ids=["dense too large", "NaN in Y", "no file"],
)
def test_a_start_that_is_refused_does_not_cost_the_old_run(refused: list[str], here: Path) -> None:
    np.save(here / "Y.npy", np.array([[0.0, np.nan]]))
    np.save(here / "R.npy", np.ones((1, 2)))
    assert cofi("train", "--config", "tiny.yaml", cwd=here).returncode == 0
    before = (here / "runs/tiny/model/factors.safetensors").read_bytes()
    assert cofi("train", "--config", "tiny.yaml", "--replace", *refused, cwd=here).returncode == 2
    assert (here / "runs/tiny/model/factors.safetensors").read_bytes() == before


def test_a_users_own_folders_in_run_dir_survive(here: Path) -> None:
    (here / "data").mkdir()
    (here / "data" / "r.csv").write_text("userId,movieId,rating\n1,1,4\n1,2,3\n")
    args = ["train", "--config", "tiny.yaml", "run_dir=.", "data.synthetic=null", "data.ratings=data/r.csv"]
    for replace in ([], ["--replace"]):
        done = cofi(*args, *replace, cwd=here)
        assert done.returncode == 2
        assert "would overwrite its own input" in done.stderr
        assert (here / "data" / "r.csv").exists()


def test_a_ratings_file_end_to_end(here: Path) -> None:
    rng = np.random.default_rng(0)
    cells = rng.choice(200, 60, replace=False)
    rows = [f"u{cell // 20},{cell % 20},{rng.integers(1, 11) / 2},0" for cell in cells]
    (here / "r.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows]) + "\n")
    args = ["train", "--config", "tiny.yaml", "data.synthetic=null", "data.ratings=r.csv"]
    done = cofi(*args, cwd=here)
    assert done.returncode == 0, done.stderr
    metrics = [json.loads(line) for line in (here / "runs/tiny/metrics.jsonl").read_text().splitlines()]
    assert [m["epoch"] for m in metrics] == [1, 10, 20]
    assert metrics[-1]["cost"] < metrics[0]["cost"]


def test_a_dense_run_too_large_is_refused(here: Path) -> None:
    shape = "data.synthetic={num_users: 3000000, num_items: 3000000, num_ratings: 10000}"
    done = cofi("train", "--config", "tiny.yaml", "train.cost=dense", shape, cwd=here)
    assert done.returncode == 2
    assert done.stderr.startswith("cofi-dist: train.cost: dense needs about 720,000 GB")
    assert done.stderr.endswith("set train.cost: sparse\n")
    assert not (here / "runs" / "tiny").exists()


def test_bad_arrays_leave_nothing_behind(here: Path) -> None:
    np.save(here / "Y.npy", np.array([[0.0, np.nan]]))
    np.save(here / "R.npy", np.ones((1, 2)))
    done = cofi("train", "--config", "tiny.yaml", "data={y: Y.npy, r: R.npy}", cwd=here)
    assert done.returncode == 2
    assert done.stderr == "cofi-dist: Y.npy: [0, 1] is nan, but R says it is known\n"
    assert not (here / "runs" / "tiny").exists()


def test_config_prints_what_is_resolved_or_the_mistake(here: Path) -> None:
    good = cofi("config", "tiny.yaml", "train.lr=1e-5", cwd=here)
    assert (good.returncode, good.stderr) == (0, "")
    assert "lr: 1.0e-05" in good.stdout
    bad = cofi("config", "tiny.yaml", "train.lr='1e-5'", cwd=here)
    assert (bad.returncode, bad.stdout) == (2, "")
    said = "tiny.yaml (override): train.lr: '1e-5' is text; write 1.0e-05, without quotes"
    assert bad.stderr == f"cofi-dist: {said}\n"
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["config", "long.yaml"], "key: value` lines, not 'userId,movieId,rating 1,1,1 1,1,1"),
        (["config", "none.yaml"], "cofi-dist: none.yaml: cannot be read: No such file or directory"),
        (
            ["export", "none", "--output", "out"],
            "cofi-dist: none: no such directory; give that of a run or of a model",
        ),
        (["train"], "Missing option '--config'"),
        (["export", "none", "--format", "doc", "--output", "o"], "Invalid value for '--format'"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_a_wrong_command_exits_2_without_a_traceback(args: list[str], says: str, here: Path) -> None:
    (here / "long.yaml").write_text("userId,movieId,rating\n" + "1,1,1\n" * 999)
    done = cofi(*args, cwd=here)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_command_the_help_is_shown_as_it_is(here: Path) -> None:
    for args in ([], ["data"]):
        done = cofi(*args, cwd=here)
        assert done.returncode == 2
        assert done.stderr.startswith("Usage: ")
        assert len(done.stderr.splitlines()) > 5


def test_a_run_that_diverged_says_so_wherever_it_is_used(here: Path) -> None:
    done = cofi("train", "--config", "tiny.yaml", "train.lr=1.0e+18", "data.test={}", cwd=here)
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert "the model of epoch 1 is kept in runs/tiny/model" in said
    for args in (["evaluate", "runs/tiny"], ["recommend", "runs/tiny", "--user", "1"]):
        used = cofi(*args, cwd=here)
        assert used.returncode == 0
        assert "the run diverged (epoch 10: the cost is " in used.stderr
    assert cofi("report", "runs/tiny", cwd=here).returncode == 0
    assert "diverged" in (here / "runs/tiny/report.html").read_text()


@pytest.mark.parametrize(
    ("sent", "code", "says"), [(15, 143, "terminated"), (2, 130, "interrupted"), (1, 129, "hung up")]
)
def test_who_is_asked_to_stop_while_preparing_leaves_nothing(
    sent: int, code: int, says: str, here: Path
) -> None:
    with (here / "r.csv").open("w") as file:
        file.write("userId,movieId,rating\n")
        file.writelines(f"{k // 100},{k % 100},3\n" for k in range(4_000_000))
    command = [sys.executable, "-m", "cofi_dist", "prepare", "r.csv", "--output", "out"]
    with subprocess.Popen(
        command,
        cwd=here,
        stderr=subprocess.PIPE,
        text=True,
        # whoever runs the tests in the background may have made children ignore it
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        deadline = time.monotonic() + 60
        while not list(here.glob(".out.*.tmp/data/work/read/*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(sent)
        assert process.stderr is not None
        assert process.stderr.read() == f"cofi-dist: {says}\n"
    assert process.returncode == code
    assert not list(here.glob(".out.*"))
    assert not (here / "out").exists()


PANIC = """
import signal
from polars.exceptions import PanicException
from cofi_dist.cli import main

def app(**_):
    try:
        signal.raise_signal(signal.SIGTERM)
    except BaseException as error:
        raise PanicException(f"Python raised {error!r}")

main.app = app
main.main()
"""


def test_a_library_that_panics_because_of_a_signal_was_terminated(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PANIC], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (143, "cofi-dist: terminated\n")


def test_a_full_disk_under_stdout_ends_no_training_but_is_a_failure_elsewhere(here: Path) -> None:
    env = {**os.environ, "PYTHONUNBUFFERED": ""}
    for args, code in ((["train", "--config", "tiny.yaml"], 0), (["--version"], 1)):
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "cofi_dist", *args]
            done = subprocess.run(
                command,
                cwd=here,
                env=env,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=250,
            )
        assert done.returncode == code, done.stderr
        assert done.stderr.count("stdout: cannot be written: No space left on device") == 1
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
    assert (here / "runs/tiny/model").exists()
    assert len((here / "runs/tiny/metrics.jsonl").read_text().splitlines()) == 3


def test_version(here: Path) -> None:
    done = cofi("--version", cwd=here)
    assert (done.returncode, done.stdout) == (0, "cofi-dist 0.1.0\n")


def test_help_names_the_commands(here: Path) -> None:
    done = cofi("--help", cwd=here)
    assert done.returncode == 0
    for command in ("train", "export", "config"):
        assert command in done.stdout
