"""Where compiled loops are kept from one process to the next, and what is checked before they are run.

numba's own cache believes what it reads: a file that a power cut has emptied ends every later run, and one
that somebody else has written is run as code. Here each loop is a file, whole or not there, that begins with
a checksum. It is taken only where it and its folder belong to this user or root, and nobody else can write
to them. Any other is passed over, and the loop is compiled anew.
"""

import hashlib
import os
import pickle
import stat
import sys
from collections.abc import Iterator
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
OF_CHECKSUM = hashlib.sha256().digest_size
WRITTEN_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class LoopCache(NullCache):  # type: ignore[misc]
    """What numba asks for one function's compiled code, and gives it to.

    Args:
        function: whose code it is.
    """

    _is_kept = True  # of every function: what could not be written once is not tried again

    def __init__(self, function: Any) -> None:
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The code for arguments of these types; None where there is none that can be trusted."""
        target_context.refresh()
        key = _key(self._name, sig, target_context.codegen())
        for folder in _folders():
            try:
                theirs, reduced = pickle.loads(_read(folder, self._file(key)))  # noqa: S301, it is ours
                if theirs == key:
                    return CompileResult._rebuild(target_context, *reduced)
            except StoppedError:  # a signal
                raise
            except Exception:  # noqa: S112, whatever it is, the code is compiled instead
                continue
        FirstCompilation.announce()
        return None

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Keep the code in the first folder that can be written; say once where none can."""
        is_portable = not cres.lifted and not cres.library.has_dynamic_globals  # no addresses of this process
        if not LoopCache._is_kept or not is_portable:
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
        LoopCache._is_kept = False
        log_stderr(
            f"the compiled loops cannot be kept, so every start compiles them anew: {'; '.join(faults)}; set"
            " NUMBA_CACHE_DIR to a folder of your own"
        )

    def _file(self, key: str) -> str:
        return f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.nbc"


def _key(name: str, sig: Any, codegen: Any) -> str:
    """All that the code depends on: the function, its types, the processor, the compiler and the source."""
    versions = sys.implementation.cache_tag, numba.__version__, llvmlite.__version__
    return repr((name, sig, codegen.magic_tuple(), versions, _source()))


@cache
def _source() -> str:
    """Of all code beside this file: loops are inlined into each other across files."""
    files = sorted(file for file in HERE.iterdir() if file.suffix in (".py", ".pyc"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _folders() -> Iterator[Path]:
    """Where code may lie, the best first: NUMBA_CACHE_DIR alone if it is set."""
    name = f"loops-{_source()[:16]}"
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR).absolute() / name
        return
    yield HERE / "__pycache__" / name
    home = os.path.expanduser("~")  # of a user without a home it stays as it is
    if os.path.isabs(home):
        yield Path(home) / ".cache" / "cofi_dist" / name


def _require_safe(status: os.stat_result) -> None:
    """Raise PermissionError where somebody but this user and root may have written it."""
    if status.st_uid not in (os.geteuid(), 0):
        raise PermissionError(f"belongs to another user (number {status.st_uid})")
    if status.st_mode & WRITTEN_BY_OTHERS:
        raise PermissionError("can be written by other users")


def _read(folder: Path, name: str) -> bytes:
    """What was written.

    Raises:
        OSError: it is not there, not whole, or not to be trusted.
    """
    within = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _require_safe(os.fstat(within))
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within)
    finally:
        os.close(within)
    with open(file, "rb") as opened:
        _require_safe(os.fstat(file))
        checksum, content = opened.read(OF_CHECKSUM), opened.read()
    if hashlib.sha256(content).digest() != checksum:
        raise OSError(f"{folder / name}: is not what was written")
    return content


def _write(folder: Path, name: str, content: bytes) -> None:
    os.makedirs(folder, mode=0o755, exist_ok=True)
    _require_safe(folder.lstat())
    with atomic_file(folder / name) as file:
        file.write(hashlib.sha256(content).digest() + content)
        file.chmod(0o644)  # whatever the umask: not to be written by the group
