"""The run directory: what may begin in it, who holds it, and what is never deleted."""

from pathlib import Path

import pytest

from cofi_dist.errors import RunError
from cofi_dist.run.directory import ProvisionalRun, RunDirectory
from cofi_dist.run_layout import LOCK, MARKER, STOP


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be used as run_dir"):
        RunDirectory(tmp_path / "file" / "run").begin()


def test_a_run_is_refused_unless_told_to_replace_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    RunDirectory(run).require_free(replace=False, inputs=[])
    RunDirectory(run).begin()
    with pytest.raises(RunError, match=r"already holds a run; .* --replace"):
        RunDirectory(run).require_free(replace=False, inputs=[])
    RunDirectory(run).require_free(replace=True, inputs=[])


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match="is a file"):
        RunDirectory(tmp_path / "run").require_free(replace=True, inputs=[])


def test_replacing_a_run_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    RunDirectory(tmp_path).begin()
    RunDirectory(tmp_path).save_config("seed: 1\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    RunDirectory(tmp_path).begin()
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARKER, "notes.txt"]
    RunDirectory(tmp_path).discard()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "name", ["data", "model", "tensorboard", "config.yaml", "metrics.jsonl", "train.log"]
)
@pytest.mark.parametrize("replace", [False, True])
def test_files_that_no_run_wrote_are_never_deleted(name: str, replace: bool, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("precious")
    with pytest.raises(RunError, match="no run wrote it"):
        RunDirectory(tmp_path).require_free(replace=replace, inputs=[])
    assert (tmp_path / name / "mine").read_text() == "precious"


def test_a_run_may_not_overwrite_its_own_input(tmp_path: Path) -> None:
    RunDirectory(tmp_path).begin()
    for name in ("data/r.csv", "config.yaml"):
        with pytest.raises(RunError, match="would overwrite its own input"):
            RunDirectory(tmp_path).require_free(replace=True, inputs=[tmp_path / name])


def test_one_of_two_jobs_gets_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunDirectory(tmp_path).begin()
    monkeypatch.setattr(Path, "exists", lambda self: False)  # as the slower job saw it
    with pytest.raises(RunError, match="another job has just begun here"):
        RunDirectory(tmp_path).begin()


def test_a_claim_locks_the_directory_and_removes_what_an_earlier_start_left(tmp_path: Path) -> None:
    (tmp_path / STOP).touch()
    (tmp_path / ".model.0123abcd.tmp").mkdir()
    with RunDirectory(tmp_path).claim():
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
        with pytest.raises(RunError, match="has been running here"), RunDirectory(tmp_path).claim():
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_claim_leaves_no_folder_if_nothing_begins(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "runs" / "a").claim():
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keeps", [False, True])
def test_a_provisional_run_is_discarded_unless_it_is_kept(keeps: bool, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(ZeroDivisionError), ProvisionalRun(run) as provisional:
        provisional.begin()
        if keeps:
            provisional.keep()
        _ = 1 / 0
    assert run.is_run is keeps
    assert run.path.exists() is keeps


def test_a_run_that_was_there_before_is_not_provisional(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.begin()
    with ProvisionalRun(run):
        pass
    assert run.is_run
