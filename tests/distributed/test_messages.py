"""What ranks say to each other: JSON, and nothing that could run."""

import ast
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from cofi_dist.checkpoint.manifest import list_checkpoints
from cofi_dist.checkpoint.reader import find_newest
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import TrainingError
from cofi_dist.run.train import train
from cofi_dist.testing import run_ranks

ROOT = Path(__file__).parents[2] / "cofi_dist"
TINY = """
data: {synthetic: {num_users: 30, num_items: 40, num_ratings: 300}, validation: {}}
model: {num_features: 4}
train: {epochs: 20, log_every: 10, lr: 0.01}
validation: {every: 5}
checkpoint: {every: 5, resume: auto}
"""


def test_no_module_pickles() -> None:
    for file in sorted(ROOT.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        names = {getattr(node, "id", getattr(node, "attr", "")) for node in nodes}
        assert not {name for name in names if name.endswith(("gather_object", "object_list"))}, file
        # the one talks to processes that it has started, the other reads files that this user alone may write
        if file.name not in ("testing.py", "compiled_cache.py"):
            modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
            assert not modules & {"pickle", "shelve", "marshal", "dill"}, file


class PickledError(Exception):
    """Somebody pickles."""


def _no_pickle(*_: Any) -> Any:
    raise PickledError


def _trains(comm: Comm, folder: Path) -> list[str]:
    """A run that is saved, gone on with, and read; where torch can pickle nothing."""
    for name in ("_pickler", "_unpickler", "_object_to_tensor", "_tensor_to_object"):
        assert hasattr(dist.distributed_c10d, name)
        setattr(dist.distributed_c10d, name, _no_pickle)
    run_dir = train(folder / "tiny.yaml", [f"run_dir={folder / 'run'}"], comm, quiet=True)
    more = [f"run_dir={folder / 'run'}", "train.epochs=30"]
    train(folder / "tiny.yaml", more, comm, quiet=True)
    checkpoint, rejected = find_newest(run_dir / "checkpoints", comm)
    assert checkpoint is not None
    assert checkpoint.directory == list_checkpoints(run_dir / "checkpoints")[0]
    manifest = checkpoint.manifest
    manifest.parts[0].model_validate(manifest.parts[0].model_dump())
    return [checkpoint.directory.name, str(checkpoint.epoch), *rejected]


def test_two_ranks_train_and_go_on_without_a_pickle(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    assert run_ranks(2, _trains, tmp_path, tmp=tmp_path) == [["epoch-00000030", "30"]] * 2


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


MESSAGES: dict[str, Any] = {
    "a pickle": lambda mark: pickle.dumps(Bomb(mark)),
    "no text": lambda _: b"\xff\xfe\x00",
    "another value": lambda _: b"[1, 2]",
    "nothing in it": lambda _: b"{}",
    "a kind of error that there is not": lambda _: json.dumps(
        {"error": {"type": "OSError", "message": "x"}}
    ).encode(),
    "deep": lambda _: b"[" * 100_000,
    "a number of many digits": lambda _: b'{"value": ' + b"9" * 10_000 + b"}",
}


def _hears(comm: Comm, messages: list[bytes], lengths: list[int]) -> list[str]:
    """Rank 0 sends these in the place of what `from_rank_zero` sends."""
    heard = []
    for said in messages + [b""] * len(lengths):
        if comm.rank == 0:
            dist.broadcast(torch.tensor([len(said) or lengths.pop(0)]), src=0)
        if comm.rank == 0 and said:
            dist.broadcast(torch.frombuffer(bytearray(said), dtype=torch.uint8), src=0)
        if comm.rank == 1:
            with pytest.raises(TrainingError) as raised:
                comm.from_rank_zero(lambda: 1)
            heard.append(str(raised.value))
    return heard


def test_what_is_no_message_is_refused_in_a_line_and_runs_nothing(tmp_path: Path) -> None:
    messages = [message(tmp_path / "ran") for message in MESSAGES.values()]
    lengths = [-1, 0, 2**62]  # that no message has: no memory is taken for them
    heard = run_ranks(2, _hears, messages, lengths, tmp=tmp_path)[1]
    line = "rank 0 sent what is no message of this version; start all ranks with the same cofi_dist"
    assert heard == [line] * (len(messages) + len(lengths))
    assert not (tmp_path / "ran").exists()


def _gathers_a_pickle(comm: Comm, mark: Path) -> str:
    said = pickle.dumps(Bomb(mark))
    if comm.rank == 1:
        dist.all_gather_into_tensor(torch.empty(2, dtype=torch.int64), torch.tensor([len(said)]))
        message = torch.frombuffer(bytearray(said), dtype=torch.uint8)
        dist.all_gather_into_tensor(torch.empty(2 * len(said), dtype=torch.uint8), message)
        return ""
    with pytest.raises(TrainingError) as raised:
        comm.all_gather_objects("x")
    return str(raised.value)


def test_a_gathered_pickle_runs_nothing(tmp_path: Path) -> None:
    said = run_ranks(2, _gathers_a_pickle, tmp_path / "ran", tmp=tmp_path)[0]
    assert said.startswith("rank 1 sent what is no message")
    assert not (tmp_path / "ran").exists()
