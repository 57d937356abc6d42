"""The command serves the page of a run, and what is wrong is one line."""

import importlib.util
import json
import signal
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cofi_dist.cli.explore import explore
from cofi_dist.errors import ConfigError
from tests.e2e.conftest import home
from tests.support.commands import cofi
from tests.support.served import served

__all__ = ["home"]


def answer(url: str) -> Any:
    # no proxy of the surroundings: it would be asked for the loopback
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=120) as got:
        return json.loads(got.read())


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_it_serves_until_a_signal_ends_it(number: int, code: int, word: str, home: Path) -> None:
    with served("runs/c", "runs/plain", "--titles", "movies.csv", cwd=home) as (url, process):
        names = [model["name"] for model in answer(f"{url}api/models")["models"]]
        assert names == ["c", "plain"]
        assert answer(f"{url}api/search?q=film,%20the%201001")["total"] == 1
        assert answer(f"{url}api/history?user=1")["total"] > 0
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    assert process.returncode == code
    assert said.splitlines() == ["Ctrl-C ends it", f"cofi-dist: {word}"]


def test_a_model_without_its_ratings_is_served_and_that_is_told(home: Path, tmp_path: Path) -> None:
    with served(home / "runs" / "c" / "model", "--titles", "movies.csv", cwd=home) as (url, process):
        (model,) = answer(f"{url}api/models")["models"]
        assert model["has_ratings"] == (home / "runs" / "c" / "data").exists()
        process.terminate()


def test_others_are_served_only_with_a_warning(home: Path) -> None:
    with served("runs/c", "--host", "0.0.0.0", cwd=home) as (url, process):
        answer(f"http://127.0.0.1:{url.rpartition(':')[2]}api/models")
        process.terminate()
        _, said = process.communicate(timeout=120)
    assert (
        said.splitlines()[0]
        == "--host 0.0.0.0: whoever reaches this machine sees the page and all users' ratings"
    )


def test_what_cannot_be_served_is_one_line(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = cofi("explore", "runs/c", "--port", port, cwd=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"cofi-dist: --port {port} is in use; give another, or 0 for a free one\n"
    done = cofi("explore", "runs/none", cwd=home)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "runs/none" in done.stderr


def test_more_than_two_runs_are_refused() -> None:
    with pytest.raises(ConfigError, match="one or two models side by side, not 3; leave some out"):
        explore([Path("a"), Path("b"), Path("c")])


def test_without_the_extra_the_command_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "cofi_dist.cli.explore.find_spec", lambda name: None if name == "uvicorn" else found(name)
    )
    with pytest.raises(ConfigError, match=r"^explore needs uvicorn: pip install 'cofi-dist\[explore\]'$"):
        explore([Path("a")])
