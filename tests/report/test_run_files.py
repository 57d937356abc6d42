"""What a run left is read as it was written, and what is wrong with it is said in one line."""

import json
from pathlib import Path

import pytest

from cofi_dist.errors import ConfigError, RunError
from cofi_dist.report.run_files import display_names, read_runs
from tests.support.written_runs import write_run


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    (run,) = read_runs([write_run(tmp_path / "a", ranks=[60, 40])])
    assert run.name == "a"
    assert run.metrics.epoch.tolist() == [1, 11, 21, 31, 41]
    assert run.metrics.cost.tolist() == [900, 450, 300, 225, 180]
    assert run.metrics.best == 3
    assert run.shards is not None
    assert run.shards.load.tolist() == [1.2, 0.8]
    assert (run.shards.num_users, run.num_items, run.config) == (2, 20, "seed: 1\n")


def test_only_the_metrics_are_needed(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "a")
    for name in ("shards.json", "config.yaml", "train.log"):
        (directory / name).unlink()
    (run,) = read_runs([directory])
    assert (run.shards, run.config, run.log, run.num_items) == (None, "", [], None)


def test_what_a_run_was_ended_for_is_known(tmp_path: Path) -> None:
    said = "after epoch 41: why"
    for name in ("diverged", "pruned"):
        directory = write_run(tmp_path / name)
        result = {"epoch": 41, "seconds": 1.0, "fingerprint": "x", name: said}
        (directory / "result.json").write_text(json.dumps(result))
        (run,) = read_runs([directory])
        assert {"diverged": run.diverged, "pruned": run.pruned} == {"diverged": "", "pruned": "", name: said}


def test_the_number_of_items_is_in_the_log_of_an_older_run(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "a")
    (directory / "train.log").write_text("Num. movies:   30\n")
    (run,) = read_runs([directory])
    assert run.num_items == 20
    shards = json.loads((directory / "shards.json").read_text())
    del shards["num_items"]
    (directory / "shards.json").write_text(json.dumps(shards))
    (run,) = read_runs([directory])
    assert run.num_items == 30


def test_names_differ_whatever_the_directories_are_called(tmp_path: Path) -> None:
    assert display_names([tmp_path / "a", tmp_path / "b/"]) == ["a", "b"]
    assert display_names([tmp_path / "x" / "run", tmp_path / "y" / "run"]) == ["x/run", "y/run"]
    alike = display_names([tmp_path / f"{start}{'long' * 20}" for start in "ab"])
    assert len(set(alike)) == 2
    assert all(len(name) < 60 for name in alike)
    assert display_names([tmp_path / "new\nline\udc80"]) == ["new?line?"]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    empty = write_run(tmp_path / "empty", [])
    (tmp_path / "other").mkdir()
    for directory, message in (
        (tmp_path / "none", "no such directory"),
        (tmp_path / "other", "has no metrics.jsonl; is it a run's?"),
        (empty, "holds no epoch"),
    ):
        with pytest.raises(RunError, match=message):
            read_runs([directory])
    with pytest.raises(ConfigError, match="given 2 times"):
        read_runs([tmp_path, tmp_path / "other" / ".."])


@pytest.mark.parametrize("text", ["{", "[]", '{"ranks": []}', '{"ranks": [{"ratings": "x"}]}', "\xff"])
def test_shards_that_no_run_wrote_are_named(text: str, tmp_path: Path) -> None:
    directory = write_run(tmp_path / "a")
    (directory / "shards.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=r"shards\.json: .*; remove it to go without"):
        read_runs([directory])
