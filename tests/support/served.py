"""The command `explore` as a process of its own, for the tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Process = subprocess.Popen[str]


@contextmanager
def served(*arguments: object, cwd: Path) -> Iterator[tuple[str, Process]]:
    """Start it on a free port; yield the page's address, which it prints, and the process."""
    command = [sys.executable, "-m", "cofi_dist", "explore", *map(str, arguments), "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url and process.stderr is not None:
                raise AssertionError(process.stderr.read())
            yield url, process
        finally:
            process.kill()
