"""Files and run directories: whole or not there, and never lost unasked."""

from pathlib import Path

import pytest

from cofi_dist.errors import DataError, RunError
from cofi_dist.files import whole_directory, whole_file
from cofi_dist.rundir import clear_run, refuse_run, save_config


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


def test_a_file_appears_whole_or_keeps_what_it_was(tmp_path: Path) -> None:
    file = tmp_path / "f"
    with whole_file(file) as temporary:
        temporary.write_text("old")
    with pytest.raises(DataError), whole_file(file) as temporary:
        temporary.write_text("ne")
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
        clear_run(tmp_path / "file" / "run")


def test_a_run_is_refused_unless_told_to_replace_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    refuse_run(run, replace=False)
    clear_run(run)
    refuse_run(run, replace=False)
    save_config(run, "seed: 1\n")
    with pytest.raises(RunError, match=r"already holds a run; .* --replace"):
        refuse_run(run, replace=False)
    refuse_run(run, replace=True)


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match="is a file"):
        refuse_run(tmp_path / "run", replace=True)


def test_replacing_a_run_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    save_config(tmp_path, "seed: 1\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    clear_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
