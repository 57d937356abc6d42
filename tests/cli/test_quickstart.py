"""The first model is of the config in the package, and what is printed to go on with works."""

import shlex
from pathlib import Path

import pytest

from cofi_dist.cli.main import app
from cofi_dist.cli.quickstart import CONFIG
from cofi_dist.cli.session import Session
from cofi_dist.errors import RunError

ROOT = Path(__file__).parents[2]
SMALL = ["train.epochs=2", "data.synthetic={num_users: 20, num_items: 30, num_ratings: 100}"]


def cofi(*words: str) -> None:
    app(list(words), standalone_mode=False, obj=Session())


def test_the_printed_commands_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cofi("quickstart", *SMALL)
    assert Path("runs/quickstart/model").is_dir()
    lines = [line.strip() for line in capsys.readouterr().err.splitlines() if line.startswith("  ")]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("cofi-dist")]
    assert [words[0] for words in commands] == ["export", "recommend", "similar", "train"]
    (config,) = (line for line in lines if line.startswith("echo"))
    _, text, arrow, file = shlex.split(config)
    assert arrow == ">"
    Path(file).write_text(text)
    Path("ratings.csv").write_text("userId,movieId,rating\n1,2,5\n1,3,1\n2,2,4\n")
    cofi(*commands[0])
    for words in commands[1:3]:
        cofi(*("2" if word == "10" else word for word in words))  # fewer ratings: this is a small model
    cofi(*commands[3], "train.epochs=2")
    assert Path("runs/mine/model").is_dir()


def test_an_earlier_run_is_kept_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for run in ("runs/quickstart", "runs/other"):
        cofi("quickstart", *SMALL, f"run_dir={run}")
    model = tmp_path / "runs/other/model/factors.safetensors"
    before = model.read_bytes()
    with pytest.raises(RunError, match="already holds a run"):
        cofi("quickstart", *SMALL)
    cofi("quickstart", *SMALL, "--replace", "seed=2")
    assert model.read_bytes() == before
    assert (tmp_path / "runs/quickstart/model/factors.safetensors").read_bytes() != before


def test_the_repository_and_the_package_have_one_config() -> None:
    assert (ROOT / "configs/quickstart.yaml").resolve() == Path(str(CONFIG)).resolve()
