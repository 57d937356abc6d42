"""The notebooks of examples/ run from top to bottom, and are stored without outputs."""

import csv
import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.notebook import run_notebook
from tests.support.training_runs import notebook_arrays

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.ipynb"))
PRINTED = ROOT / "tests" / "parity" / "notebook_loss.csv"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give Jupyter and IPython folders of their own, and return the folder that notebooks run in."""
    for name in [name for name in os.environ if name.startswith(("JUPYTER", "IPYTHON"))]:
        monkeypatch.delenv(name)
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    here = tmp_path / "here"
    here.mkdir()
    return here


def read(name: str) -> Any:
    """Return a notebook of examples/."""
    return nbformat.read(ROOT / "examples" / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


def execute(notebook: Any, folder: Path) -> list[Any]:
    """Run all cells in a new kernel of this Python, and return their outputs."""
    # `python3` is the kernel of the Python that asks for it, installed or not
    NotebookClient(
        notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def text_of(outputs: list[Any], stream: str) -> str:
    return "".join(output["text"] for output in outputs if output.get("name") == stream)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_no_outputs_are_stored_that_could_be_stale(path: Path) -> None:
    for cell in read(path.stem).cells:
        assert not cell.get("outputs"), cell.source
        assert cell.get("execution_count") is None, cell.source


def test_the_tour_runs(kernel: Path) -> None:
    tour = read("tour")
    outputs = execute(tour, kernel)
    assert "Warning" not in text_of(outputs, "stderr")
    shown = [output["data"] for output in outputs if "data" in output]
    assert len([data for data in shown if "image/png" in data]) == 2
    tables = [data["text/plain"] for data in shown if "rank" in data["text/plain"]]
    assert len(tables) >= 6
    assert all("The " in table for table in tables), "a list has titles"
    assert not list(kernel.iterdir()), "nothing stays on the disk"


@pytest.mark.data
def test_the_notebook_prints_the_notebooks_losses(
    kernel: Path, movielens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one process the same lines as the loop that it replaces; and the curve that the loop printed."""
    monkeypatch.setenv("COFI_DIST_DATA", str(movielens.parents[1]))
    notebook = read("notebook")
    shorter = {
        "epochs = 300": "epochs = 2",
        '"log_every": 100': '"log_every": 1',
        "epochs = 15_000": "epochs = 100",
    }
    for was, becomes in shorter.items():
        assert sum(was in cell.source for cell in notebook.cells) == 1, was
        for cell in notebook.cells:
            cell.source = cell.source.replace(was, becomes)
    notebook.cells[-1] = deepcopy(next(cell for cell in notebook.cells if cell.cell_type == "code"))
    notebook.cells[-1].source = "print(model.history.write_json())"
    outputs = execute(notebook, kernel)
    *lines, history = text_of(outputs, "stdout").splitlines()
    Y, R = notebook_arrays(movielens)
    assert lines == run_notebook(Y, R, seed=1, epochs=2, every=1).lines
    with PRINTED.open() as file:
        printed = {int(row["epoch"]): float(row["loss"]) for row in csv.DictReader(file)}
    costs = {row["epoch"]: row["cost"] for row in json.loads(history)}
    assert costs == {epoch: pytest.approx(printed[epoch], rel=0.015) for epoch in (1, 100)}


def test_without_the_ratings_the_notebook_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COFI_DIST_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    notebook = read("notebook")
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    with pytest.raises(FileNotFoundError, match="cofi-dist data get ml-latest-small"):
        exec(first, {})
