"""Files and run directories: whole or not there, and never lost unasked."""

from pathlib import Path

import pytest

from cofi_dist.errors import DataError, RunError
from cofi_dist.files import swapping, whole_directory, whole_file, write_whole
from cofi_dist.rundir import MARKER, begin_run, discard_run, refuse_run, save_config


def test_a_directory_appears_whole(tmp_path: Path) -> None:
    with whole_directory(tmp_path / "a" / "b") as temporary:
        (temporary / "x").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "x").read_text() == "1"
    assert len(list((tmp_path / "a").iterdir())) == 1


def test_nothing_is_left_of_a_directory_that_failed(tmp_path: Path) -> None:
    with pytest.raises(DataError), whole_directory(tmp_path / "d") as temporary:
        (temporary / "x").write_text("1")
        raise DataError("bad")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_goes_when_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "d"
    for text in ("old", "new"):
        with whole_directory(target, replace=True) as temporary:
            (temporary / text).touch()
    with pytest.raises(RunError, match="d: cannot be written"), whole_directory(target, replace=True):
        raise OSError(28, "No space left on device")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_directory_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "d"
    with whole_directory(target) as temporary:
        (temporary / "old").touch()
    rename = Path.rename

    def fail(self: Path, to: Path) -> Path:
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, to)

    monkeypatch.setattr(swapping, "exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(RunError, match="d: cannot be written"), whole_directory(target, replace=True) as new:
        (new / "new").touch()
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_appears_whole_or_keeps_what_it_was(tmp_path: Path) -> None:
    file = tmp_path / "f"
    write_whole(file, "old")
    with pytest.raises(DataError), whole_file(file) as opened:
        opened.write(b"ne")
        raise DataError("bad")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"), whole_directory(tmp_path / "file" / "d"):
        pass
    with pytest.raises(RunError, match="cannot be written"), whole_file(tmp_path / "file" / "f"):
        pass
    with pytest.raises(RunError, match="cannot be used as run_dir"):
        begin_run(tmp_path / "file" / "run")


def test_a_run_is_refused_unless_told_to_replace_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    refuse_run(run, replace=False, inputs=[])
    begin_run(run)
    with pytest.raises(RunError, match=r"already holds a run; .* --replace"):
        refuse_run(run, replace=False, inputs=[])
    refuse_run(run, replace=True, inputs=[])


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match="is a file"):
        refuse_run(tmp_path / "run", replace=True, inputs=[])


def test_replacing_a_run_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    begin_run(tmp_path)
    save_config(tmp_path, "seed: 1\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    begin_run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARKER, "notes.txt"]
    discard_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "name", ["data", "model", "tensorboard", "config.yaml", "metrics.jsonl", "train.log"]
)
@pytest.mark.parametrize("replace", [False, True])
def test_files_that_no_run_wrote_are_never_deleted(name: str, replace: bool, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("precious")
    with pytest.raises(RunError, match="no run wrote it"):
        refuse_run(tmp_path, replace=replace, inputs=[])
    assert (tmp_path / name / "mine").read_text() == "precious"


def test_a_run_may_not_overwrite_its_own_input(tmp_path: Path) -> None:
    begin_run(tmp_path)
    for name in ("data/r.csv", "config.yaml"):
        with pytest.raises(RunError, match="would overwrite its own input"):
            refuse_run(tmp_path, replace=True, inputs=[tmp_path / name])


def test_one_of_two_jobs_gets_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_run(tmp_path)
    monkeypatch.setattr(Path, "exists", lambda self: False)  # as the slower job saw it
    with pytest.raises(RunError, match="another job has just begun here"):
        begin_run(tmp_path)
