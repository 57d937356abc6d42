"""Compiled loops are kept from one process to the next; nothing but what was written is taken for them."""

import hashlib
import os
import pickle
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

from cofi_dist.kernels.cpu import compiled_cache
from cofi_dist.kernels.cpu.compiled_cache import CHECKSUM_BYTES, LoopCache
from cofi_dist.kernels.cpu.jit import compiled
from cofi_dist.kernels.first_compilation import FirstCompilation

ROOT = Path(__file__).parents[3]


def twice(number: int) -> int:
    return number * 2


def hits() -> int:
    """Compile it, or load it, as a process that has just begun; returns whether it was loaded."""
    function = compiled()(twice)
    assert function(21) == 42
    return sum(function.stats.cache_hits.values())


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the compiled function."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(LoopCache, "is_kept", True)
    assert not (tmp_path / "cache").exists()
    assert hits() == 0
    (file,) = tmp_path.rglob("*.nbc")
    assert hits() == 1
    return file


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize(
    "damage", [lambda _: b"", cut, flip, lambda content: bytes(len(content)), lambda content: content + b"\0"]
)
def test_a_damaged_file_is_passed_over_and_written_anew(damage: Callable[[bytes], bytes], kept: Path) -> None:
    content = kept.read_bytes()
    kept.write_bytes(damage(content))
    assert hits() == 0
    assert hits() == 1


class Harm:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._folder),)


def give_to_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, 54321, -1)
    else:
        me = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)


@pytest.mark.parametrize(
    "how", ["belongs to another", "can be written by others", "in a folder that others can write"]
)
def test_what_another_user_may_have_written_is_not_run(
    how: str, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    harm = pickle.dumps(Harm(tmp_path / "harmed"))
    kept.write_bytes(hashlib.sha256(harm).digest() + harm)
    if how == "belongs to another":
        give_to_another(kept, monkeypatch)
    else:
        (kept if how.startswith("can") else kept.parent).chmod(0o777)
    assert hits() == 0
    assert not (tmp_path / "harmed").exists()
    said = capsys.readouterr().err
    if "folder" in how:
        assert said.startswith("the compiled loops cannot be kept, so every start compiles them anew: ")
        assert said.endswith("can be written by other users; set NUMBA_CACHE_DIR to a folder of your own\n")
        assert kept.read_bytes()[CHECKSUM_BYTES:] == harm, "nothing is written where others can write"
    elif os.geteuid() == 0 or how.startswith("can"):
        assert hits() == 1, "it was written anew"


def test_a_link_is_not_followed(kept: Path, tmp_path: Path) -> None:
    kept.rename(tmp_path / "elsewhere")
    kept.symlink_to(tmp_path / "elsewhere")
    assert hits() == 0
    assert not kept.is_symlink()
    assert hits() == 1
    kept.parent.rename(tmp_path / "other")
    kept.parent.symlink_to(tmp_path / "other")
    assert hits() == 0


@pytest.mark.parametrize("place", ["file", "file/in/it"])
def test_where_nothing_can_be_written_it_is_compiled_and_said_in_one_line(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / place))
    monkeypatch.setattr(LoopCache, "is_kept", True)
    assert [hits(), hits()] == [0, 0]
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("the compiled loops cannot be kept, so every start compiles them anew: /")
    assert "Not a directory" in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


FULL = """
import resource, signal
import numba
from tests.kernels.cpu.test_compiled_cache import hits
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
assert [hits(), hits()] == [0, 0]
"""


def test_a_full_disk_is_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", FULL], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (said,) = done.stderr.splitlines()
    assert said.startswith("the compiled loops cannot be kept")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_compiling_is_told_once_and_only_where_it_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    told: list[str] = []
    FirstCompilation.on_start(lambda: told.append("compiling"))
    assert hits() == 0
    assert told == ["compiling"]
    FirstCompilation.on_start(lambda: told.append("again"))
    assert hits() == 1
    assert told == ["compiling"], "it was kept"
    monkeypatch.setattr(FirstCompilation, "_listener", None)


def test_a_relative_folder_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "here")
    monkeypatch.setattr(LoopCache, "is_kept", True)
    assert [hits(), hits()] == [0, 1]
    assert len(list((tmp_path / "here").rglob("*.nbc"))) == 1


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_what_is_kept_is_its_owners_whatever_the_umask(
    umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    before = os.umask(umask)
    try:
        assert [hits(), hits()] == [0, 1]
    finally:
        os.umask(before)


BLAS_LATER = """
import sys
import numba
import numpy as np
from tests.kernels.cpu.test_compiled_cache import hits
assert hits() == 0
assert "scipy.linalg" not in sys.modules
assert numba.njit(lambda x: np.dot(x, x))(np.ones(3)) == 3
"""


def test_scipy_is_not_imported_until_a_loop_of_somebody_else_needs_it(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BLAS_LATER]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


AT_ONCE = "from tests.kernels.cpu.test_compiled_cache import hits; input(); hits()"


def test_many_that_compile_at_once_are_all_right(tmp_path: Path) -> None:
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    given: dict[str, Any] = {"env": env, "stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", AT_ONCE], **given) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert said == [""] * 4
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_user_without_a_home_has_the_folder_beside_the_source_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nameless(number: int) -> Any:
        raise KeyError(number)

    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(pwd, "getpwuid", nameless)
    monkeypatch.delenv("HOME", raising=False)
    assert [folder.parent.name for folder in compiled_cache._folders()] == ["__pycache__"]
    monkeypatch.setenv("HOME", "/a")
    assert [str(folder.parent) for folder in compiled_cache._folders()][1:] == ["/a/.cache/cofi_dist"]


def test_other_source_is_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any file beside the cache's own, and of the file that defines the loops' operands."""
    keys = set()
    monkeypatch.setattr(compiled_cache, "HERE", tmp_path)
    monkeypatch.setattr(compiled_cache, "OPERANDS", tmp_path / "operands" / "base.py")
    (tmp_path / "operands").mkdir()
    for loops, operands in (("", ""), ("a = 1", ""), ("a = 2", ""), ("a = 2", "b = 1")):
        (tmp_path / "loops.py").write_text(loops)
        (tmp_path / "operands" / "base.py").write_text(operands)
        compiled_cache._source.cache_clear()
        keys.add(compiled_cache._source())
    compiled_cache._source.cache_clear()
    assert len(keys) == 4


def test_a_loop_is_not_taken_from_another_source(tmp_path: Path) -> None:
    package = tmp_path / "cofi_dist"
    shutil.copytree(ROOT / "cofi_dist", package, ignore=shutil.ignore_patterns("__pycache__"))
    found = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", HALF], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        where, half = done.stdout.split()
        assert Path(where).is_relative_to(tmp_path)
        found.append(float(half))
        file = package / "kernels" / "cpu" / "row_kernels.py"
        file.write_text(file.read_text().replace("return squares / 2", "return squares * 2"))
    assert found == [0.5, 2.0]


HALF = """
import numpy as np
from cofi_dist.kernels.base import Csr, Side
from cofi_dist.kernels.cpu import parallel_loops, row_kernels
from cofi_dist.kernels.cpu.schedule import by_rows
from cofi_dist.kernels.cpu.simd import vectors_of
one, zero, half = np.ones((1, 1)), np.zeros(1), np.zeros(1)
rows = by_rows(np.ones(1, np.int64))
ratings = Csr(rows.indptr, np.zeros(1, np.int32), np.ones(1))
sides = Side(np.zeros((1, 1)), zero), Side(one, zero)
parallel_loops.half_squared_errors(1, vectors_of(1, 8), rows.schedule(), ratings, *sides, half)
print(row_kernels.__file__, half[0])
"""
