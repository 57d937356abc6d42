"""One fault in one command: what came of it."""

import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from tools.file_faults.commands import COMMANDS, Command, Left, checkpoints_of, left_by, left_over, make_base
from tools.file_faults.server import KINDS, NO_FAULT, Ended, Fault, Server

WHOLE = "whole, exit code 0"
TOLD = "one line, exit code not 0; the same command then gives the same bits"
KILLED = "killed; the same command then gives the same bits"
NOTED = "exit code 0, and a note names what was left out because it could not be read"
GOOD = (WHOLE, TOLD, KILLED, NOTED)


ERRORS = {name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EDQUOT")}
CHANGING = ("write", "rename", "mkdir", "unlink", "link")


def faults(seen: dict[str, int]) -> Iterator[tuple[str, Fault]]:
    """Each fault and what its kind is called; the errors take turns."""
    errors = cycle(ERRORS)
    for kind in KINDS:
        for at in range(1, seen[kind] + 1):
            yield f"{kind} fails", Fault((kind,), at, ERRORS["EIO" if kind == "read" else next(errors)])
            if kind == "write":
                yield "write fails from then on", Fault((kind,), at, ERRORS[next(errors)], "from then on")
                yield "write falls short", Fault((kind,), at, 0, "short")
                yield "killed in a write", Fault((kind,), at, 0, "torn")
    for at in range(1, sum(seen[kind] for kind in CHANGING) + 1):
        yield "killed before a call", Fault(CHANGING, at, 0, "kill")


@dataclass(frozen=True)
class Undisturbed:
    """A command that nothing happens to.

    Attributes:
        before, after: what it finds and what it leaves.
        seen: how often it calls each kind of file call.
        checkpoints: that it leaves.
    """

    before: Left
    after: Left
    seen: dict[str, int]
    checkpoints: list[str]


class Bench:
    """Runs commands in copies of one folder.

    Args:
        folder: for all of it.
        server: that runs them.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        self._base, self._case, self._server = folder / "base", folder / "case", server
        self._base.mkdir()
        self._case.mkdir()
        make_base(self._case, self._must)
        self._base.rmdir()
        self._case.rename(self._base)

    def _must(self, words: str) -> None:
        ended = self._server.run(words.split(), self._case)
        if ended.code:
            raise RuntimeError(f"{words}: {ended.said}")

    def _anew(self) -> None:
        shutil.rmtree(self._case, ignore_errors=True)
        shutil.copytree(self._base, self._case)

    def _run(self, command: Command, fault: Fault = NO_FAULT) -> Ended:
        return self._server.run(command.words.split(), self._case, fault, poor=command.poor)

    def undisturbed(self, name: str) -> Undisturbed:
        """What a command does when nothing goes wrong."""
        command = COMMANDS[name]
        self._anew()
        before = left_by(command, self._case)
        seen = self._run(command).seen
        return Undisturbed(before, left_by(command, self._case), seen, checkpoints_of(command, self._case))

    def try_(self, name: str, fault: Fault, want: Undisturbed) -> str:
        """Let a command meet a fault; returns the outcome, one of GOOD or what is bad."""
        command = COMMANDS[name]
        self._anew()
        ended = self._run(command, fault)
        bad = self._broken(command, ended, want)
        if bad:
            return bad
        if ended.code == 0:
            return NOTED if left_by(command, self._case) != want.after else WHOLE
        again = self._run(command)
        left = left_by(command, self._case)
        if left != want.after:
            unlike = [key for key in left if left[key] != want.after[key]]
            return f"AGAIN, {', '.join(unlike)} DIFFER: {again.said.strip()[-200:]}"
        if again.code and "already exists" not in again.said and "already holds a run" not in again.said:
            return f"AGAIN ENDS WITH {again.code}: {again.said.strip()[-200:]}"
        if over := left_over(self._case):
            return f"LEFT OVER: {over}"
        return KILLED if ended.code == -9 else TOLD

    def _broken(self, command: Command, ended: Ended, want: Undisturbed) -> str:
        """What is wrong right after the fault; empty if nothing is."""
        left, said = left_by(command, self._case), ended.said
        checkpoints = checkpoints_of(command, self._case)
        if ended.code == -14:
            return "HUNG"
        if "Traceback" in said or "Exception ignored" in said or ended.code == 70:
            return f"TRACEBACK: {said.strip()[-300:]}"
        if ended.code == 0:
            lost = [key for key in left if left[key] != want.after[key]]
            if set(want.checkpoints) - set(checkpoints) and "could not be saved" not in said:
                lost.append("a checkpoint")
            is_noted = "left out: " in said and "cannot be read" in said
            return f"SILENT LOSS: {', '.join(lost)}" if lost and not is_noted else ""
        if ended.code > 0 and sum(line.startswith("cofi-dist: ") for line in said.splitlines()) != 1:
            return f"NOT ONE LINE: {said.strip()[-200:]}"
        given_up = command.run and command.words.endswith("--replace")  # it is cleared, piece by piece
        swapping = command.poor and ended.code < 0  # piece by piece too; the next start ends that
        for key in left if not given_up and not swapping else ():
            if key != "costs" and left[key] not in (None, want.before[key], want.after[key]):
                return f"HALF-WRITTEN: {key}"
        missing = command.keeps and left[command.keeps.rpartition("/")[2]] is None
        return "MODEL MISSING" if missing else ""
