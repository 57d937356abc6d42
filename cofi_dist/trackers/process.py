"""Run a tracker in a process of its own, so that whatever its library does cannot reach the training.

Libraries of trackers print, patch streams, start services and wait for servers, even when their process ends.
This one reads batches of reports as lines of JSON, and answers each with a line. If the training is killed,
it sees the end of its input, and records that.
"""

import json
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from cofi_dist.run_layout import TRACKERS
from cofi_dist.trackers.callback import Report
from cofi_dist.trackers.json_lines import to_json
from cofi_dist.trackers.recipient import RecipientError

PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop());"
    " from cofi_dist.trackers.worker import main; main(sys.argv.pop())"
)


class TrackerProcess:
    """Give reports to a tracker in a process of its own, which starts with the first of them.

    Args:
        name: of the tracker.
        run_dir: the run directory; what the library prints goes to a file in it.
        lines: what is to be told to the user is appended to it.
    """

    def __init__(self, name: str, run_dir: Path, lines: deque[str]) -> None:
        self._name, self._folder, self._lines = name, run_dir / TRACKERS, lines
        self._process: subprocess.Popen[bytes] | None = None
        self._is_interrupted = False

    def receive(self, reports: Sequence[Report]) -> None:
        """Send reports, and wait until the tracker has taken them.

        Raises:
            RecipientError: it could not.
        """
        process = self._process = self._process or self._start()
        if self._is_interrupted:  # meanwhile
            process.kill()
        answer = _exchange(process, to_json(reports))
        if "error" in answer:
            raise RecipientError(answer["error"])
        if answer.get("note"):
            self._lines.append(f"{self._name}: {answer['note']}")
        if answer.get("ended"):
            process.wait()

    def interrupt(self) -> None:
        self._is_interrupted = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        with suppress(OSError), self._process:  # closes the pipes, and waits, or else a zombie would stay
            pass

    def _start(self) -> "subprocess.Popen[bytes]":
        self._folder.mkdir(exist_ok=True)
        with open(self._folder / f"{self._name}.log", "ab") as log:
            return subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", PROGRAM, self._name, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # or Ctrl-C would reach it
            )


def _exchange(process: "subprocess.Popen[bytes]", line: str) -> dict[str, str]:
    """Send a line, and return the answer to it."""
    to, back = _pipe(process.stdin), _pipe(process.stdout)
    try:
        to.write(line.encode())
        to.flush()
        answer = back.readline()
    except OSError:
        answer = b""
    if not answer:
        raise RecipientError("its process has ended")
    found: dict[str, str] = json.loads(answer)
    return found


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
