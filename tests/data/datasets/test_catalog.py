"""What is known of the data sets, and the commands about them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cofi_dist.config import DataSection
from cofi_dist.data.datasets.catalog import DATASETS, DataSet, downloaded_ratings_file
from cofi_dist.errors import ConfigError, DataError

NAMES = ["ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m", "ml-latest-small"]


def cofi(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cofi_dist", "data", *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


def put(root: Path, known: DataSet) -> Path:
    file = known.ratings_in(root)
    file.parent.mkdir(parents=True)
    file.write_text("")
    return file


def test_the_data_sets_of_the_readme_are_known() -> None:
    assert list(DATASETS) == NAMES


@pytest.mark.parametrize("known", DATASETS.values(), ids=NAMES)
def test_what_is_known_is_plausible(known: DataSet) -> None:
    assert known.url == f"https://files.grouplens.org/datasets/movielens/{known.name}.zip"
    assert known.archive_bytes < known.unpacked_bytes
    # a rating takes ten bytes at least, and packs to no less than three
    assert known.num_ratings * 10 < known.unpacked_bytes
    assert known.num_ratings * 3 < known.archive_bytes
    assert known.md5 is None or re.fullmatch(r"[0-9a-f]{32}", known.md5)
    assert (known.md5 is None) == (known.name == "ml-latest-small")
    assert "/" not in known.folder + known.ratings
    assert known.note.startswith("for research; ")
    assert "\n" not in known.note


def test_checksums_and_folders_are_not_mixed_up() -> None:
    for what in ("md5", "url", "folder", "num_ratings", "archive_bytes"):
        assert len({getattr(known, what) for known in DATASETS.values()}) == len(DATASETS)


def test_a_data_set_is_found_in_its_root(tmp_path: Path) -> None:
    file = put(tmp_path, DATASETS["ml-10m"])
    assert file == tmp_path / "ml-10M100K" / "ratings.dat"
    assert downloaded_ratings_file("ml-10m", str(tmp_path)) == file


def test_a_data_set_that_is_not_there_is_named_with_its_command() -> None:
    says = (
        r"^no where/ml-1m/ratings\.dat: is not there; get it by `cofi-dist data get ml-1m --root 'no where'`$"
    )
    with pytest.raises(DataError, match=says):
        downloaded_ratings_file("ml-1m", "no where")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"^data\.name: no data set is called 'ml-2m'; there are ml-100k, "):
        downloaded_ratings_file("ml-2m", "data")


def test_list_fits_a_terminal_and_says_what_is_on_disk(tmp_path: Path) -> None:
    put(tmp_path / "data", DATASETS["ml-25m"])
    done = cofi("list", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[5].split() == ["ml-25m", "25,000,095", "262.0", "MB", "yes"]
    assert [line.split()[0] for line in lines[1:8]] == NAMES
    assert [line.split()[-1] for line in lines[1:8]].count("yes") == 1
    assert "for research" in done.stdout


def test_get_of_what_is_on_disk_prints_its_file_and_its_config(tmp_path: Path) -> None:
    put(tmp_path / DataSection.model_fields["root"].default, DATASETS["ml-1m"])
    done = cofi("get", "ml-1m", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "data/ml-1m/ratings.dat\ndata: {name: ml-1m}\n")
    assert done.stderr.splitlines()[0] == "ml-1m is already in data/ml-1m."
    put(tmp_path / "else where", DATASETS["ml-1m"])
    done = cofi("get", "ml-1m", "--root", "else where", cwd=tmp_path)
    assert done.stdout == "else where/ml-1m/ratings.dat\ndata: {name: ml-1m, root: else where}\n"


def test_get_of_an_unknown_name_is_one_line(tmp_path: Path) -> None:
    done = cofi("get", "ml-2m", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cofi-dist: data.name: no data set is called 'ml-2m'; there are ml-100k")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_commands_do_without_torch() -> None:
    code = "import sys, cofi_dist.cli.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0
