"""What a fit shows: a bar if somebody watches it, the command's lines if asked for; notes are logged."""

import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import cofi_dist
from cofi_dist.fitting.screens import NotebookBar, is_notebook
from tests.support.ratings_files import random_table

SMALL: dict[str, Any] = {"model": {"num_features": 4}, "train": {"epochs": 3, "log_every": 1}}


def test_lines_are_printed_only_if_asked_for_and_notes_are_logged(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cofi_dist")
    cofi_dist.fit(random_table(), **SMALL)
    assert capfd.readouterr() == ("", "")
    assert "sparse cost: compiled loops" in caplog.messages
    caplog.clear()
    cofi_dist.fit(random_table(), progress=True, **SMALL)
    out, err = capfd.readouterr()
    assert out.splitlines()[0] == "Using cpu device"
    assert len(out.splitlines()) == 9
    assert "sparse cost: compiled loops" in err
    assert not caplog.messages


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("progress", [None, True])
def test_a_program_without_streams_can_fit(
    name: str, progress: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, name, None)
    assert len(cofi_dist.fit(random_table(), progress=progress, **SMALL).history) == 3
    assert getattr(sys, name) is None


class Handle:
    """Record what a notebook shows."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def display(self, bundle: dict[str, str], **_: bool) -> "Handle":
        self.shown.append(bundle)
        return self

    update = display


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """A process whose IPython is the kernel of a notebook."""
    handle = Handle()
    shell = SimpleNamespace(has_trait=lambda name: name == "kernel")
    kind = SimpleNamespace(initialized=lambda: True, instance=lambda: shell)
    display = SimpleNamespace(display=handle.display)
    monkeypatch.setitem(sys.modules, "IPython.core.interactiveshell", SimpleNamespace(InteractiveShell=kind))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return handle


def test_a_notebook_gets_a_bar_that_ends_with_the_last_epoch(notebook: Handle) -> None:
    assert is_notebook()
    cofi_dist.fit(random_table(), **SMALL)
    assert 'value="0" max="3"' in notebook.shown[0]["text/html"]
    assert notebook.shown[-1]["text/plain"].startswith("epoch 3/3, cost ")
    assert 'value="3" max="3"' in notebook.shown[-1]["text/html"]


def test_below_the_bar_stands_why_the_training_ended_early(notebook: Handle) -> None:
    cofi_dist.fit(random_table(), model={"num_features": 4}, train={"optimizer": "als"})
    shown, note = notebook.shown[-1]["text/plain"].splitlines()
    assert note.startswith(f"converged in {shown.partition('/')[0]}: ")


def test_a_notebook_gets_the_lines_without_notes_between_them(
    notebook: Handle, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cofi_dist")
    cofi_dist.fit(random_table(), progress=True, **SMALL)
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 9
    assert not err
    assert "sparse cost: compiled loops" in caplog.messages


def test_a_notebook_gets_no_bar_beside_lines_or_if_nothing_is_to_be_shown(notebook: Handle) -> None:
    for progress in (True, False):
        cofi_dist.fit(random_table(), progress=progress, **SMALL)
    assert not notebook.shown


def test_a_notebook_that_is_gone_does_not_end_the_training(notebook: Handle) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("socket closed")

    failures: list[str] = []
    sys.modules["IPython.display"].display = fail  # type: ignore[attr-defined]
    bar = NotebookBar(3, None, failures.append)
    bar.begin()
    bar.close()
    assert failures
    assert set(failures) == {"the bar cannot be shown: socket closed"}


def test_a_plain_process_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython.core.interactiveshell", raising=False)
    assert not is_notebook()
