"""A path is a name, but for a home directory at its start."""

import os
import pwd
from pathlib import Path

import pytest

from cofi_dist.config import load_config
from cofi_dist.files.paths import as_path

NAMES = [
    "a[1]",
    "a*",
    "a?",
    "{a,b}",
    "100%20",
    "#1",
    "$HOME",
    "a'b",
    '"',
    " a ",
    "a\nb",
    "-a",
    "ü",
    "a~",
    "=",
    ".",
    "/",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_taken_as_it_stands(name: str) -> None:
    assert as_path(name) == name
    assert as_path(f"folder/{name}") == f"folder/{name}"


def test_a_home_directory_is_written_out_at_the_start_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of mine")
    assert as_path("~") == "/home/of mine"
    assert as_path("~/a/~b") == "/home/of mine/a/~b"
    assert as_path("a/~") == "a/~"
    me = pwd.getpwall()[0]
    assert as_path(f"~{me.pw_name}/a") == f"{me.pw_dir}/a"


def test_nobody_takes_a_name_for_a_home_directory_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(as_path("./~")) == tmp_path / "~"
    assert Path(as_path("b/../~c/d")) == tmp_path / "b/../~c/d"
    assert as_path(str(Path(as_path("./~c")))) == str(tmp_path / "~c"), "read again, it is the same"


@pytest.mark.parametrize(
    ("path", "home", "says"),
    [
        ("~/a", "", "the home directory is '', which is not an absolute path"),
        ("~/a", "here", "the home directory is 'here'"),
        (
            "~no-such-user",
            "/root",
            "~no-such-user: there is no user no-such-user; write the directory out, or ./~no",
        ),
        ("", "/root", "a path is empty"),
        ("a\0", "/root", "cannot hold a NUL"),
        ("a\udcff", "/root", "is not UTF-8"),
        ("~a\0/b", "/root", "cannot hold a NUL"),
        ("file:///a", "/root", "file:///a is a URL"),
        ("hf://a", "/root", "is a URL"),
    ],
)
def test_what_is_no_path_is_said(path: str, home: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    with pytest.raises(ValueError, match=says.replace(".", r"\.")):
        as_path(path)


def test_without_home_the_user_has_one_or_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    try:
        home = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        with pytest.raises(ValueError, match="HOME is not set, and this user has no home directory"):
            as_path("~/a")
    else:
        assert as_path("~/a") == f"{home}/a"
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    with pytest.raises(ValueError, match="HOME is not set, and this user has no home directory"):
        as_path("~/a")


@pytest.mark.parametrize(
    "key", ["data.ratings", "data.prepared", "run_dir", "checkpoint.resume", "data.root"]
)
def test_every_path_of_a_config_may_begin_at_home(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "c.yaml").write_text("data: {}\n")
    source = [] if key in ("data.ratings", "data.prepared") else ["data.ratings=r.csv"]
    config = load_config(tmp_path / "c.yaml", [*source, f"{key}=~/a #1"])
    assert "/home/me/a #1" in config.to_yaml()
    assert "~" not in config.to_yaml()
