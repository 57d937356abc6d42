"""What a run says, and where."""

import io
import json
import resource
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from cofi_dist.config import load_config
from cofi_dist.errors import RunError
from cofi_dist.run.log import RunLog
from cofi_dist.run.screen import StreamScreen
from cofi_dist.run.shard_table import shard_table
from cofi_dist.sharding.ranges import balanced_ranges
from cofi_dist.training.metrics import Accuracy, Criterion, EpochMetrics


def say(directory: Path) -> None:
    with RunLog(directory, 200) as log:
        log.info("world size 1")
        log.stdout_line("Using cpu device")
        log.on_start(40620.94267767584, 0)
        log.on_metrics(EpochMetrics(1, 40620.94267767584, 0.5, 201672.0))
        for epoch in range(1, 101):
            log.on_step(epoch)
        log.on_metrics(EpochMetrics(100, 9966.912101, 1.5, 6722400.0))


NOTEBOOK = [
    "Using cpu device",
    "Initial loss: 40620.94267767584",
    "Epoch       Loss",
    "    1       40620.94268",
    "  100       9966.91210",
]


def test_stdout_is_the_notebooks_and_stderr_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say(tmp_path)
    out, err = capsys.readouterr()
    assert out.splitlines() == NOTEBOOK
    assert err.splitlines() == ["world size 1"]
    assert (tmp_path / "train.log").read_text().splitlines() == ["world size 1", *NOTEBOOK]


def test_metrics_are_one_object_a_printed_epoch(tmp_path: Path) -> None:
    say(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[1] == {"epoch": 100, "cost": 9966.912101, "seconds": 1.5, "ratings_per_second": 6722400.0}
    assert [line["epoch"] for line in lines] == [1, 100]


def say_validated(directory: Path) -> None:
    figures = {"rmse": 0.871234, "mae": 0.660123}
    with RunLog(directory, 200, criterion=Criterion()) as log:
        log.on_start(1234567890.25, 0)
        log.on_metrics(EpochMetrics(1, 1234567890.25, 0.5, 201672.0))
        log.on_metrics(EpochMetrics(100, 9966.912101, 1.5, 6722400.0, Accuracy(figures)))


def test_validation_has_two_more_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say_validated(tmp_path)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Epoch       Loss                 RMSE      MAE",
        "    1       1234567890.25000",
        "  100       9966.91210        0.87123  0.66012",
    ]


def test_metrics_have_the_accuracy_where_it_was_measured(tmp_path: Path) -> None:
    say_validated(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert "validation_rmse" not in lines[0]
    assert (lines[1]["validation_rmse"], lines[1]["validation_mae"]) == (0.871234, 0.660123)


@pytest.mark.parametrize(
    ("criterion", "header", "line"),
    [
        (Criterion("ndcg", 10), "  NDCG@10", "  0.31234"),
        (Criterion("precision", 100), " precision@100", "       0.31234"),
    ],
)
def test_a_figure_of_lists_has_one_more_column(
    criterion: Criterion, header: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunLog(tmp_path, 200, criterion=criterion) as log:
        log.on_start(1234567890.25, 0)
        log.on_metrics(EpochMetrics(1, 1234567890.25, 0.5, 201672.0))
        log.on_metrics(EpochMetrics(100, 9.5, 1.5, 67.0, Accuracy({criterion.metric: 0.31234}, criterion)))
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"Epoch       Loss            {header}",
        "    1       1234567890.25000",
        f"  100       9.50000         {line}",
    ]


@pytest.mark.parametrize(
    ("criterion", "figure"),
    [
        (None, ""),
        (Criterion(), " rmse 0.8712"),
        (Criterion("ndcg", 10), " ndcg 0.8712"),
        (Criterion("precision", 1000), " precision 0.8712"),
    ],
)
def test_the_bar_fits_80_columns(criterion: Criterion | None, figure: str, tmp_path: Path) -> None:
    console = Console(width=200, file=io.StringIO(), force_terminal=True, color_system=None)
    with RunLog(tmp_path, 15000, criterion=criterion) as log:
        assert isinstance(log._screen, StreamScreen)
        bar = log._screen._bar._bar
    bar.update(bar.task_ids[0], completed=14999, visible=True, cost=f"40621{figure}", speed="123")
    console.print(bar.get_renderable())
    drawn = console.file.getvalue().rstrip()  # type: ignore[attr-defined]
    assert "epoch 14999/15000" in drawn
    assert figure in drawn
    assert len(drawn) <= 80


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        RunLog(tmp_path / "none", 1)


def table(world_size: int, cost: str, tmp_path: Path, feedback: str = "explicit") -> list[str]:
    data = f"{{ratings: r, feedback: {feedback}}}"
    (tmp_path / "c.yaml").write_text(f"data: {data}\ntrain: {{cost: {cost}}}\n")
    per_user = np.arange(100)
    config = load_config(tmp_path / "c.yaml")
    return shard_table(balanced_ranges(per_user, world_size), per_user, 50, config, "cpu")


@pytest.mark.parametrize("cost", ["dense", "sparse"])
def test_the_table_of_shards(cost: str, tmp_path: Path) -> None:
    lines = table(3, cost, tmp_path)
    assert len(lines) == 5
    users, ratings = zip(
        *((int(line.split()[1]), int(line.split()[2].replace(",", ""))) for line in lines[1:4]), strict=True
    )
    assert (sum(users), sum(ratings)) == (100, 4950)
    assert lines[-1].startswith("imbalance 1.0")
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize(("feedback", "noun"), [("explicit", "ratings"), ("implicit", "events")])
def test_the_table_of_shards_says_what_it_counts(feedback: str, noun: str, tmp_path: Path) -> None:
    head, first, *_ = table(3, "sparse", tmp_path, feedback)
    assert head.split() == ["rank", "users", noun, "bytes", "load"]
    assert len(head) == len(first)


def test_the_table_of_many_shards_stays_short(tmp_path: Path) -> None:
    lines = table(90, "sparse", tmp_path)
    assert len(lines) <= 19
    assert any("more" in line for line in lines)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_that_fails_is_given_up_and_said_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, name, full)
        say(tmp_path)
    said = (tmp_path / "train.log").read_text().splitlines()
    failed = [line for line in said if "/dev/full: cannot be written: No space left on device" in line]
    assert len(failed) == 1
    assert [line for line in said if line not in failed] == ["world size 1", *NOTEBOOK]
    out, err = capfd.readouterr()
    assert out.splitlines() == ([] if name == "stdout" else NOTEBOOK)
    assert err.splitlines() == (["world size 1", *failed] if name == "stdout" else [])


def test_what_a_full_disk_refuses_is_written_when_it_can_be(tmp_path: Path) -> None:
    with RunLog(tmp_path, 3) as log:
        log.on_metrics(EpochMetrics(1, 5.0, 0.1, 10.0))
        written = (tmp_path / "metrics.jsonl").stat().st_size
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (written + 7, limits[1]))  # as a full disk, in mid-line
        try:
            log.on_metrics(EpochMetrics(2, 4.0, 0.2, 10.0))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)
        log.on_metrics(EpochMetrics(3, 3.0, 0.3, 10.0))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert "   2       4.00000" in (tmp_path / "train.log").read_text()
