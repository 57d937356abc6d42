"""Data flows one way: cli -> run -> config, data -> factors, cost, optim -> trainer -> model."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "cofi_dist"

# What a room may import from this package, beside itself; what EVERYBODYS holds it may import too.
EVERYBODYS = {"errors", "files", "memory", "reading", "streams", "tensors", "words"}
MAY_IMPORT = {
    "errors": set(),
    "memory": set(),
    "files": set(),
    "reading": set(),
    "tensors": set(),
    "streams": set(),
    "words": set(),
    "config": set(),
    "data": {"config"},
    "factors": {"data"},
    "cost": {"data", "factors"},
    "optim": {"cost", "factors"},
    "distributed": {"environment", "pulse", "__init__"},
    "pulse": set(),
    "validation": {"cost", "data", "factors", "distributed"},
    "state": {"factors", "optim", "validation"},
    "trainer": {"config", "cost", "optim", "factors", "distributed", "state", "validation"},
    "hardware": set(),
    "environment": set(),
    "launcher": {"environment"},
    "stop": {"environment", "launcher"},
    "deadline": {"environment", "launcher"},
    "lock": {"environment"},
    "checkpoint": {"data", "distributed", "rundir", "state", "stop", "tensorfile"},
    "rundir": {"lock", "stop"},
    "runlog": {"checkpoint", "rundir", "trainer"},
    "shardtable": {"config", "data"},
    "tensorfile": set(),
    "model": {"config", "data", "factors", "tensorfile"},
    "problem": {"config", "data", "factors", "cost", "distributed", "optim", "validation", "model"},
    "start": {
        "checkpoint",
        "config",
        "cost",
        "data",
        "distributed",
        "lock",
        "resume",
        "rundir",
        "runlog",
        "stop",
    },
    "resume": {"checkpoint", "config", "data", "distributed", "hardware", "problem", "rundir", "__init__"},
    "run": {
        "checkpoint",
        "config",
        "data",
        "deadline",
        "distributed",
        "problem",
        "resume",
        "rundir",
        "runlog",
        "shardtable",
        "start",
        "state",
        "stop",
        "trainer",
        "validation",
    },
    "tune": {"config", "distributed", "run", "rundir", "stop", "trainer"},
    "report": {"checkpoint", "data", "distributed", "model", "rundir", "__init__"},
    "testing": {"distributed"},
    "slurm": {"config"},
    "cli": {
        "checkpoint",
        "config",
        "cost",
        "data",
        "distributed",
        "environment",
        "model",
        "report",
        "run",
        "rundir",
        "slurm",
        "stop",
        "tune",
        "__init__",
    },
    "__main__": {"cli"},
    "__init__": set(),
}

FILES = sorted(ROOT.rglob("*.py"))


def imports_of(file: Path) -> set[str]:
    """Every module that a file imports, those inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_follow_the_flow(file: Path) -> None:
    for name in imports_of(file):
        if name.startswith("cofi_dist"):
            room = "__init__" if name == "cofi_dist.__version__" else name.split(".")[1]
            allowed = MAY_IMPORT[room_of(file)] | {room_of(file)} | EVERYBODYS
            assert room in allowed, f"{file} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_distributed_alone_talks_to_torch_distributed(file: Path) -> None:
    names = imports_of(file)
    if room_of(file) != "distributed":
        assert not any(name.startswith("torch.distributed") for name in names)
        text = file.read_text() if room_of(file) != "launcher" else ""  # which knows programs by their names
        assert "torch.distributed" not in text.replace("torch.distributed import", "")


def test_every_room_is_in_the_list() -> None:
    assert {room_of(file) for file in FILES} == set(MAY_IMPORT)


def test_files_stay_readable() -> None:
    for file in FILES:
        tree = ast.parse(file.read_text())
        assert len(file.read_text().splitlines()) <= 300, file
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.end_lineno:
                assert node.end_lineno - node.lineno < 50, f"{file}: {node.name}"
