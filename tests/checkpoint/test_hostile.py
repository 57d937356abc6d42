"""Checkpoints and run directories that are broken or were made to harm: one line, and nothing happens."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import xxhash
from safetensors.torch import load_file, save_file

from cofi_dist.checkpoint.manifest import list_checkpoints, read_manifest
from cofi_dist.checkpoint.reader import read_verified, restore_state
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.errors import CheckpointError, CofiError
from cofi_dist.files.signed_json import digest_of
from tests.support.runs import run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("good"), 2, 20, "run")


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (os.system, ("touch exploded",))


def manifest(**changes: Any) -> Callable[[Path], object]:
    """Change keys of the manifest; a dotted one reaches inside; None takes it away."""

    def harm(directory: Path) -> None:
        said = json.loads((directory / "manifest.json").read_text())
        for key, value in changes.items():
            *path, last = key.split("__")
            inner = said
            for step in path:
                inner = inner[int(step)] if step.isdigit() else inner[step]
            if value is None:
                del inner[last]
            else:
                inner[last] = value
        put_manifest(directory, said)

    return harm


def text(content: bytes) -> Callable[[Path], object]:
    return lambda directory: (directory / "manifest.json").write_bytes(content)


def part(change: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda directory: change(next(directory.glob("users-*")))


def redone(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    """Write a part anew with other tensors, and a manifest that fits it."""

    def harm(directory: Path) -> None:
        file = sorted(directory.glob("users-*"))[0]
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file)
        fit_manifest(directory, file)

    return harm


def instead(file: Path, make: Callable[[Path], object]) -> None:
    """Something else in the place of a file."""
    file.unlink()
    make(file)


def pickled(directory: Path) -> None:
    file = sorted(directory.glob("users-*"))[0]
    file.write_bytes(pickle.dumps(Bomb()))
    fit_manifest(directory, file)


def fit_manifest(directory: Path, file: Path) -> None:
    said = json.loads((directory / "manifest.json").read_text())
    entry = next(p for p in said["parts"] if p["side"] == "users" and p["start"] == 0)
    entry |= {"bytes": file.stat().st_size, "xxh3": xxhash.xxh3_128(file.read_bytes()).hexdigest()}
    put_manifest(directory, said)


def put_manifest(directory: Path, said: dict[str, Any]) -> None:
    """With the checksum that fits."""
    (directory / "manifest.json").write_text(json.dumps({**said, "sha256": digest_of(said)}))


HARMS: dict[str, Callable[[Path], object]] = {
    "no manifest": lambda d: (d / "manifest.json").unlink(),
    "empty manifest": text(b""),
    "manifest of zeros": text(bytes(100)),
    "manifest of other bytes": text(bytes(range(256))),
    "a list": text(b"[]"),
    "a number": text(b"7"),
    "nested too deeply": text(b"[" * 100_000),
    "a pickle for a manifest": text(pickle.dumps(Bomb())),
    "a manifest that is a directory": lambda d: instead(d / "manifest.json", Path.mkdir),
    "a manifest that is a pipe": lambda d: instead(d / "manifest.json", os.mkfifo),
    "a manifest changed by hand": lambda d: (d / "manifest.json").write_text(
        (d / "manifest.json").read_text().replace('"epoch": 20', '"epoch": 21')
    ),
    "newer format": manifest(format=4),
    "earlier format": manifest(format=1),
    "ids are a number": manifest(ids=3),
    "format is text": manifest(format="1"),
    "unknown key": manifest(exec="import os"),
    "no epoch": manifest(numbers__epoch=None),
    "negative epoch": manifest(numbers__epoch=-1),
    "epoch is a fraction": manifest(numbers__epoch=1.5),
    "an enormous epoch": manifest(numbers__epoch=10**30),
    "infinite time": manifest(numbers__seconds=float("inf")),
    "NaN in the best": manifest(numbers__best__rmse=float("nan")),
    "dtype is code": manifest(dtype="__import__('os')"),
    "no parts": manifest(parts=[]),
    "a part leaves its folder": manifest(parts__0__side="../../../etc/users"),
    "a part twice": lambda d: manifest(parts=2 * json.loads((d / "manifest.json").read_text())["parts"])(d),
    "rows overlap": manifest(parts__1__start=0),
    "rows run backwards": manifest(parts__0__start=9, parts__0__stop=3),
    "too many users": manifest(num_users=61),
    "enormous rows": manifest(num_users=2**62),
    "checksum is no checksum": manifest(parts__0__xxh3="z" * 32),
    "another checksum": manifest(parts__0__xxh3="0" * 32),
    "a part cut off": part(lambda f: os.truncate(f, 99)),
    "a part missing": part(lambda f: f.unlink()),
    "a part that is a directory": part(lambda f: instead(f, Path.mkdir)),
    "a part that links elsewhere": part(lambda f: instead(f, lambda f: f.symlink_to("/etc/passwd"))),
    "a bit flipped": part(lambda f: f.write_bytes(f.read_bytes()[:-1] + b"\x7f")),
    "a pickle for a part": pickled,
    "a tensor missing": redone(lambda t: t.pop("W")),
    "a tensor of another shape": redone(lambda t: t.update(W=t["W"][:, :3].contiguous())),
    "rows missing": redone(lambda t: t.update(W=t["W"][:1].contiguous())),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
def test_each_is_refused_in_one_line_and_nothing_is_executed(
    harm: Callable[[Path], object], good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = shutil.copytree(list_checkpoints(good / "checkpoints")[0], tmp_path / "harmed")
    harm(directory)
    before = {p: p.lstat().st_mtime_ns for p in directory.rglob("*")}
    with pytest.raises(CofiError) as error:
        run(tmp_path, 1, 30, "run", f"checkpoint.resume={directory}")
    assert str(error.value).startswith(str(directory))
    assert "\n" not in str(error.value)
    assert {p: p.lstat().st_mtime_ns for p in directory.rglob("*")} == before
    assert not (tmp_path / "exploded").exists()
    assert not (tmp_path / "run").exists()


def test_no_bit_of_a_manifest_can_change_unnoticed(good: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(list_checkpoints(good / "checkpoints")[0], tmp_path / "harmed")
    said, file = read_manifest(directory), directory / "manifest.json"
    whole = file.read_bytes()
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        file.write_bytes(changed)
        try:
            assert read_manifest(directory) == said, f"byte {at}"
        except CheckpointError as error:
            assert "\n" not in str(error)


def test_an_unharmed_one_is_taken(good: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(list_checkpoints(good / "checkpoints")[0], tmp_path / "fine")
    assert read_verified(directory, SoloComm()).manifest == read_manifest(directory)
    run_dir = run(tmp_path, 1, 30, "run", f"checkpoint.resume={directory}")
    assert (run_dir / "model").is_dir()
    assert restore_state.__doc__
