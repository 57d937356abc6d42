"""What ends a command is told in one line, unless it is a bug of ours."""

import os
from pathlib import Path

import pytest

from cofi_dist.cli.failures import exit_code
from cofi_dist.cli.main import app
from cofi_dist.cli.session import Session
from tests.support.models import made_up

LONG = "x" * 300  # a name of a file may have 255 bytes


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model, whose folder is the working directory."""
    made_up(tmp_path).save(tmp_path / "model")
    (tmp_path / "r.csv").write_text("userId,movieId,rating\n1,2,3\n")
    monkeypatch.chdir(tmp_path)
    return Path("model")


@pytest.mark.parametrize(
    "command",
    [
        "prepare r.csv --output {long}",
        "prepare {long} --output p",
        "prepare {long}/*.csv --output p",
        "export {model} --format pt --output {long}",
        "evaluate {model} --ratings r.csv --output {long}",
        "evaluate {model} --ratings {long}",
        "recommend {model} --all --output {long}.csv",
        "predict {model} --pairs r.csv --output {long}.csv",
        "report {model} --output {long}.html",
        "compare {long} {model}",
        "update {model} --ratings r.csv --output {long}",
        "train --config {long}",
    ],
)
def test_a_name_that_is_too_long_is_told(
    command: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        app(command.format(model=model, long=LONG).split(), standalone_mode=False, obj=Session())
    assert exit_code(caught.value, Session()) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"cofi-dist: {LONG}"), said
    assert said.count("\n") == 1


def test_a_path_that_may_not_be_looked_at_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(PermissionError(13, os.strerror(13), "secret/x"), Session()) == 2
    assert capsys.readouterr().err == "cofi-dist: secret/x: cannot be used: Permission denied\n"


def test_what_no_path_is_to_blame_for_is_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (FileNotFoundError(2, os.strerror(2), "ours"), PermissionError(13, "ours")):
        try:
            raise error
        except OSError as caught:
            assert exit_code(caught, Session()) == 1
        assert "Traceback" in capsys.readouterr().err
