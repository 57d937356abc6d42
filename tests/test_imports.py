"""Data flows one way: a room imports only what MAY_IMPORT says, as docs/architecture.md's levels have it."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "cofi_dist"

# What a room may import from this package, beside itself; what EVERYBODYS holds it may import too. The inner
# rooms of data/, and the inner rooms and files of kernels/, are rooms of their own.
EVERYBODYS = {"errors", "files", "streams", "system", "words"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "words": set(),
    "streams": set(),
    "system": set(),
    "files": set(),
    "config": set(),
    "run_layout": set(),
    "version": set(),
    "run_result": {"run_layout"},
    "sharding": set(),
    "data": {"config", "distributed", "sharding"},
    "data/readers": {"config", "data"},
    "data/preparation": {"config", "data", "data/readers", "sharding"},
    "data/datasets": set(),
    "data/sources": {"config", "data", "data/datasets", "data/preparation", "data/readers", "sharding"},
    "factors": set(),
    "cost": {
        *("data", "factors", "kernels/base", "kernels/block_sums", "kernels/gram", "kernels/item_blocks"),
        *("kernels/item_sums", "kernels/rating_matrix", "sharding"),
    },
    "kernels": set(),
    "kernels/base": set(),
    "kernels/first_compilation": set(),
    "kernels/sum_memory": {"kernels/base"},
    "kernels/cpu": {"kernels/base", "kernels/first_compilation", "kernels/sum_memory", "sharding"},
    "kernels/cuda": {"kernels/base", "sharding"},
    "kernels/torch_ops": {"kernels/base"},
    "kernels/block_sums": {"kernels/base", "kernels/cpu", "kernels/cuda", "sharding"},
    "kernels/gram": {"kernels/base", "kernels/cpu", "kernels/cuda"},
    "kernels/item_sums": {"kernels/base", "kernels/block_sums", "kernels/cuda", "sharding"},
    "kernels/rating_matrix": {
        *("kernels/base", "kernels/block_sums", "kernels/cpu", "kernels/cuda", "kernels/torch_ops"),
        "sharding",
    },
    "kernels/item_blocks": {
        *("kernels/base", "kernels/block_sums", "kernels/cpu", "kernels/cuda", "kernels/rating_matrix"),
        "kernels/sum_memory",
        "sharding",
    },
    "optim": {
        *("cost", "factors", "kernels/base", "kernels/block_sums", "kernels/cpu", "kernels/cuda"),
        *("kernels/gram", "kernels/item_blocks", "kernels/rating_matrix", "sharding"),
    },
    "distributed": {"sharding", "version"},
    "testing": {"distributed"},
    "ranking": {"data", "kernels/cpu"},
    "update": {"config", "data", "data/preparation", "factors", "sharding"},
    "model": {
        "config",
        "data",
        "data/preparation",
        "data/readers",
        "data/sources",
        "distributed",
        "factors",
        "ranking",
        "run_layout",
        "sharding",
        "update",
    },
    "training": {
        *("config", "cost", "data", "data/sources", "distributed", "factors", "ranking"),
        *("kernels/base", "kernels/block_sums", "kernels/cpu", "kernels/cuda", "kernels/rating_matrix"),
        *("kernels/torch_ops", "optim", "sharding"),
    },
    "checkpoint": {"config", "distributed", "run_layout", "sharding", "training"},
    "run": {
        *("checkpoint", "config", "data", "data/preparation", "data/readers", "data/sources"),
        *("distributed", "factors", "model", "run_layout", "run_result", "sharding", "trackers"),
        *("training", "version"),
    },
    "tuning": {
        *("config", "data/readers", "distributed", "run", "run_layout", "run_result", "training"),
    },
    "trackers": {"run_layout"},
    "report": {
        *("checkpoint", "config", "data", "distributed", "model", "ranking", "run_layout"),
        *("run_result", "sharding", "training", "version"),
    },
    "explore": {"model", "sharding"},
    "slurm": {"config"},
    "cli": {
        *("config", "data/datasets", "data/preparation", "data/readers", "data/sources"),
        *("distributed", "explore", "fitting", "kernels/first_compilation", "model", "ranking", "report"),
        *("run", "run_layout", "slurm", "tuning", "version"),
    },
    "__main__": {"cli"},
    "fitting": {
        *("config", "data/readers", "distributed", "kernels/cpu", "kernels/first_compilation"),
        *("model", "ranking", "run", "trackers", "training", "tuning"),
    },
    "sklearn": {"data/readers", "fitting", "model"},
    "__init__": {"fitting", "model", "trackers", "version"},
}

# The modules of a room from bottom to top: each may import only those before it.
ORDER_WITHIN: dict[str, tuple[str, ...]] = {
    "files": (
        *("written_file", "reading", "records", "paths", "directory_swap", "temporaries", "atomic"),
        "throwaway",
        *("signed_json", "row_files", "piece_sums", "tensor_header", "tensor_file"),
    ),
    "checkpoint": ("manifest", "reader", "retention", "writer"),
    "kernels/cpu": (
        *(
            "compiled_cache",
            "jit",
            "philox",
            "simd",
            "counting_sort",
            "row_batches",
            "partial_sums",
            "rating_terms",
            "gram_rows",
        ),
        *("cg", "row_kernels", "parallel_loops", "factor_loops", "schedule", "backend"),
        *("score_tiles", "best_scores"),
    ),
    "run": (
        *("deadline", "stop", "process_identity", "lock", "shard_table", "log_files", "screen", "log"),
        *(
            "directory",
            "callbacks",
            "checkpointing",
            "pruning",
            "outcome",
            "update",
            "requirements",
            "resume",
            "start_model",
            "start",
        ),
        *("training_run", "train"),
    ),
    "tuning": ("compared", "grid", "space", "journal", "search", "trials"),
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
    """The folder that a file lies in, of the package or of data/; for kernels/, or none, the file."""
    first, *rest = file.relative_to(ROOT).with_suffix("").parts
    is_inner = (first == "data" and len(rest) > 1) or (first == "kernels" and rest[0] != "__init__")
    return f"{first}/{rest[0]}" if is_inner else first


def room_imported(name: str) -> str:
    """The room of `cofi_dist.room.module.what`."""
    path = ROOT
    for part in name.split(".")[1:]:
        if not (path / part).is_dir():
            return room_of(path / f"{part}.py")
        path = path / part
    return room_of(path / "__init__.py")


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_follow_the_flow(file: Path) -> None:
    for name in imports_of(file):
        if name.startswith("cofi_dist"):
            allowed = MAY_IMPORT[room_of(file)] | {room_of(file)} | EVERYBODYS
            assert room_imported(name) in allowed, f"{file} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_distributed_alone_talks_to_torch_distributed(file: Path) -> None:
    names = imports_of(file)
    if room_of(file) != "distributed":
        assert not any(name.startswith("torch.distributed") for name in names)
        text = file.read_text() if file.name != "launcher.py" else ""  # which knows programs by their names
        assert "torch.distributed" not in text.replace("torch.distributed import", "")


def test_no_files_import_each_other_in_a_circle() -> None:
    """Not even for their types alone."""
    modules = {".".join(file.relative_to(ROOT.parent).with_suffix("").parts): file for file in FILES}
    modules |= {name.removesuffix(".__init__"): file for name, file in modules.items()}
    graph = {
        file: {modules.get(name) or modules.get(name.rpartition(".")[0]) for name in imports_of(file)}
        - {file}
        for file in FILES
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, with the circle


@pytest.mark.parametrize("room", ORDER_WITHIN)
def test_modules_of_a_room_import_only_those_below_them(room: str) -> None:
    order = ORDER_WITHIN[room]
    assert {file.stem for file in (ROOT / room).glob("*.py")} - {"__init__"} == set(order)
    for place, module in enumerate(order):
        for name in imports_of(ROOT / room / f"{module}.py"):
            package, _, rest = name.partition(f"cofi_dist.{room.replace('/', '.')}.")
            if not package and rest:
                assert rest.partition(".")[0] in order[:place], f"{room}/{module}.py imports {name}"


def test_every_room_is_in_the_list() -> None:
    assert {room_of(file) for file in FILES} == set(MAY_IMPORT)


def test_no_room_may_import_what_it_does_not() -> None:
    found: dict[str, set[str]] = {room: set() for room in MAY_IMPORT}
    for file in FILES:
        for name in imports_of(file):
            if name.startswith("cofi_dist"):
                found[room_of(file)].add(room_imported(name))
    for room, allowed in MAY_IMPORT.items():
        assert allowed <= found[room], room


def test_no_rooms_import_each_other() -> None:
    order = TopologicalSorter(MAY_IMPORT)
    order.prepare()  # raises CycleError


def test_files_stay_readable() -> None:
    for file in FILES:
        tree = ast.parse(file.read_text())
        assert len(file.read_text().splitlines()) <= 300, file
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.end_lineno:
                assert node.end_lineno - node.lineno < 50, f"{file}: {node.name}"
