"""Keep compiled loops on disk from one process to the next, and check them before they are run.

numba's own cache trusts what it reads. A file that a power cut has emptied makes every later run fail, and a
file that somebody else has written is run as code. Here each loop is a file that is written atomically and
begins with a checksum. It is loaded only if the file and its folder belong to this user or root, and nobody
else can write to them. Any other file is ignored, and the loop is compiled again.
"""

import hashlib
import os
import pickle
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from cofi_dist.errors import CofiError, StoppedError
from cofi_dist.files.atomic import atomic_file
from cofi_dist.kernels.first_compilation import FirstCompilation
from cofi_dist.streams import log_stderr

HERE = Path(__file__).parent
# It defines named tuples that the loops take. Code compiled for fields in another order would be wrong.
OPERANDS = HERE.parent / "base.py"
BLAS = "scipy.linalg.cython_blas"
CHECKSUM_BYTES = hashlib.sha256().digest_size
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class LoopCache(NullCache):  # type: ignore[misc]
    """Load and save one function's compiled code, as numba asks for it.

    Args:
        function: the function that is compiled.

    Attributes:
        is_kept: for all functions; once nothing could be written, no function is tried again.
    """

    is_kept = True

    def __init__(self, function: Any) -> None:
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code for arguments of these types, or None if there is none that can be trusted."""
        with _scipy_left_out():
            target_context.refresh()
        key = _key(self._name, sig, target_context.codegen())
        for folder in _folders():
            try:
                saved_key, reduced = pickle.loads(_read(folder, self._file(key)))  # noqa: S301, we wrote it
                if saved_key == key:
                    return CompileResult._rebuild(target_context, *reduced)
            except StoppedError:  # a signal
                raise
            except Exception:  # noqa: S112, whatever it is, the code is compiled instead
                continue
        FirstCompilation.announce()
        return None

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Save the code in the first folder that can be written; print one line if there is none."""
        is_portable = not cres.lifted and not cres.library.has_dynamic_globals  # no addresses of this process
        if not LoopCache.is_kept or not is_portable:
            return
        key = _key(self._name, sig, cres.codegen)
        content = dumps((key, cres._reduce()))
        faults = []
        for folder in _folders():
            try:
                _write(folder, self._file(key), content)
                return
            except CofiError as error:
                faults.append(str(error))
            except OSError as error:
                faults.append(f"{folder}: {error.strerror or error}")
        LoopCache.is_kept = False
        log_stderr(
            f"the compiled loops cannot be kept, so every start compiles them anew: {'; '.join(faults)}; set"
            " NUMBA_CACHE_DIR to a folder of your own"
        )

    def _file(self, key: str) -> str:
        return f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.nbc"


@contextmanager
def _scipy_left_out() -> Iterator[None]:
    """Keep numba from importing scipy's BLAS, which takes 0.2 s, while it registers what it can compile.

    No loop uses it, and numba finds it later where somebody else's does.
    """
    if BLAS in sys.modules:
        yield
        return
    sys.modules[BLAS] = None  # type: ignore[assignment]  # its import fails as if it were not installed
    try:
        yield
    finally:
        del sys.modules[BLAS]


def count_kept_loops() -> int:
    """Return the number of loops on the disk, of this source, for any types and processor."""
    return sum(len(list(folder.glob("*.nbc"))) for folder in _folders())


def _key(name: str, sig: Any, codegen: Any) -> str:
    """Return all that the code depends on: function, types, processor, compiler and source."""
    versions = sys.implementation.cache_tag, numba.__version__, llvmlite.__version__
    return repr((name, sig, codegen.magic_tuple(), versions, _source()))


@cache
def _source() -> str:
    """Return a checksum of all source files that compiled code may come from.

    These are all files beside this one, since loops are inlined into each other across files.
    """
    files = sorted(file for file in HERE.iterdir() if file.suffix in (".py", ".pyc"))
    files += [file for file in (OPERANDS, OPERANDS.with_suffix(".pyc")) if file.exists()]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _folders() -> Iterator[Path]:
    """Yield the folders to look in, the best one first; NUMBA_CACHE_DIR alone if it is set."""
    name = f"loops-{_source()[:16]}"
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR).absolute() / name
        return
    yield HERE / "__pycache__" / name
    home = os.path.expanduser("~")  # stays "~" if the user has no home
    if os.path.isabs(home):
        yield Path(home) / ".cache" / "cofi_dist" / name


def _require_safe(status: os.stat_result) -> None:
    """Raise PermissionError if somebody other than this user and root may have written the file."""
    if status.st_uid not in (os.geteuid(), 0):
        raise PermissionError(f"belongs to another user (number {status.st_uid})")
    if status.st_mode & WRITABLE_BY_OTHERS:
        raise PermissionError("can be written by other users")


def _read(folder: Path, name: str) -> bytes:
    """Return the content of a file, without its checksum.

    Raises:
        OSError: the file is missing, damaged, or not to be trusted.
    """
    within = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _require_safe(os.fstat(within))
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within)
    finally:
        os.close(within)
    with open(file, "rb") as opened:
        _require_safe(os.fstat(file))
        checksum, content = opened.read(CHECKSUM_BYTES), opened.read()
    if hashlib.sha256(content).digest() != checksum:
        raise OSError(f"{folder / name}: is not what was written")
    return content


def _write(folder: Path, name: str, content: bytes) -> None:
    os.makedirs(folder, mode=0o755, exist_ok=True)
    _require_safe(folder.lstat())
    with atomic_file(folder / name) as file:
        file.write(hashlib.sha256(content).digest() + content)
        file.chmod(0o644)  # whatever the umask is: nobody else may write
