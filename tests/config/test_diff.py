"""What differs between two configs, and which of their keys decide what."""

from pathlib import Path
from typing import Any

import pytest

from cofi_dist.config import Config, load_config
from cofi_dist.config.diff import FIXED, FREE, PREPARED, changes, is_within
from tools.config_table import inner_sections

GOOD = "data: {ratings: r.csv, test: {}}\n"


def config(tmp_path: Path, *overrides: str) -> Config:
    (tmp_path / "c.yaml").write_text(GOOD)
    return load_config(tmp_path / "c.yaml", overrides)


def test_every_key_that_differs_is_given_with_both_values(tmp_path: Path) -> None:
    was: dict[str, Any] = config(tmp_path, "train.lr=0.5").model_dump(exclude_none=True)
    now = config(tmp_path, "seed=7", "data.test={by: last}", "train.deadline=9")
    assert changes(was, config(tmp_path, "train.lr=0.5")) == []
    assert changes(was, now) == [
        ("data.test.by", "random", "last"),
        ("data.test.fraction", 0.2, "not set"),
        ("data.test.n", "not set", 1),
        ("data.test.seed", 0, "not set"),
        ("seed", 1, 7),
        ("train.deadline", "not set", 9.0),
        ("train.lr", 0.5, 1e-4),
    ]


def test_a_key_of_earlier_versions_is_no_change(tmp_path: Path) -> None:
    was: dict[str, Any] = config(tmp_path).model_dump(exclude_none=True)
    was["train"]["tensorboard"] = True
    assert changes(was, config(tmp_path)) == []


def test_the_same_files_under_other_names_are_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    files = ["data.ratings=[a.csv,s3://b/c]", "data.test={file: link/t.csv}"]
    was = config(tmp_path, *files).model_dump(exclude_none=True)
    same = [f"data.ratings=[{tmp_path}/a.csv,s3://b/c]", "data.test={file: ./t.csv}"]
    assert changes(was, config(tmp_path, *same)) == []
    for other in ("data.ratings=[s3://b/c,a.csv]", "data.ratings=a.csv", "data.ratings=[a.csv,s3://b/d]"):
        assert [key for key, *_ in changes(was, config(tmp_path, other, same[1]))] == ["data.ratings"]


def test_a_key_is_within_itself_and_the_sections_above_it() -> None:
    assert is_within("data.test.by", ("seed", "data.test"))
    assert is_within("seed", ("seed",))
    assert not is_within("data.test", ("data.test.by",))
    assert not is_within("train.epochs_more", ("train.epochs",))


@pytest.mark.parametrize("key", [*FIXED, *PREPARED, *FREE])
def test_the_keys_that_decide_are_keys_of_a_config(key: str) -> None:
    known = set(Config.model_fields)
    for names, section in inner_sections(Config, ""):
        known |= {f"{name}.{inner}" for name in names for inner in section.model_fields}
    assert key in known
