"""A terminal for the tests: what a program writes to one of a given width."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

COLOURLESS = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")


def on_terminal(
    command: Sequence[str],
    columns: int = 80,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a Python program whose stdout and stderr are a terminal; return its exit code and what it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in COLOURLESS}
    env = {**plain, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1", **(variables or {})}
    child = subprocess.Popen([sys.executable, *command], stdout=theirs, stderr=theirs, cwd=cwd, env=env)
    os.close(theirs)
    written = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # as Linux says that the last process has closed the terminal
            break
        if not piece:
            break
        written += piece
    os.close(ours)
    return child.wait(), written.decode().replace("\r\n", "\n")
