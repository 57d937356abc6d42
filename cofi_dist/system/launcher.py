"""What started this process as a rank: torchrun, or a program that calls its library.

Scripts, srun and the like may stand between, and its variables may be left over in the shell of a process
that it never started. So it is known by what it is, not by being the parent.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from cofi_dist.system.variables import read

MODULES = ("torch.distributed.run", "torch.distributed.launch")
PROGRAMS = ("torchrun", "torchrun.exe")
SCRIPTS = (*(f"/{name}" for name in PROGRAMS), *(f"/{name.replace('.', '/')}.py" for name in MODULES))


@dataclass(frozen=True)
class Launcher:
    """Of this process.

    Attributes:
        process: by number and start, so that no later process is taken for it.
        is_torchrun: it does nothing else than start ranks, and may be ended; not so a program of the user's.
    """

    process: psutil.Process
    is_torchrun: bool

    @classmethod
    def find(cls) -> Self | None:
        """The nearest ancestor that started ranks, and this as one of them; None if there is none."""
        run, several = read("TORCHELASTIC_RUN_ID"), read("WORLD_SIZE") not in ("", "1")
        if not run:
            return None
        with suppress(psutil.Error):  # one of them has just ended, or is another user's
            child = psutil.Process()
            for process in child.parents():
                if _has(child, run):
                    if is_torchrun(process.cmdline()):
                        return cls(process, is_torchrun=True)
                    # a shell with variables left over looks the same, but has no ranks that meet
                    if several and not _has(process, run):
                        return cls(process, is_torchrun=False)
                child = process
        return None

    @property
    def since(self) -> float:
        """When it began, in seconds of the clock."""
        return float(self.process.create_time())

    def lives(self) -> bool:
        """Whether it still runs."""
        try:
            return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def end(self) -> None:
        """Ask torchrun to end; it takes a rank that leaves for one that failed, and would start all again."""
        if self.is_torchrun:
            with suppress(psutil.Error):
                self.process.terminate()


def is_torchrun(command: list[str]) -> bool:
    """Whether a command line is torchrun's, however it is called."""
    program = Path(command[0]).name if command else ""
    if program in PROGRAMS:
        return True
    if not program.startswith(("python", "pypy")):
        return False
    words = iter(command[1:])
    for word in words:
        if not word.startswith("-"):
            return f"/{word}".endswith(SCRIPTS)
        for place, letter in enumerate(word[1:], start=2):
            if letter == "c":
                return False
            if letter == "m":
                return (word[place:] or next(words, "")) in MODULES
            if letter in "WX":  # takes what follows, here or in the next word
                if not word[place:]:
                    next(words, "")
                break
    return False


def _has(process: psutil.Process, run: str) -> bool:
    """Whether a process was started with the variables of this run; taken for so where that can't be read."""
    try:
        return process.environ().get("TORCHELASTIC_RUN_ID", "").strip() == run
    except psutil.AccessDenied:
        return True
