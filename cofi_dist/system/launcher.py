"""Find the launcher that started this process as a rank: torchrun, or a program that calls its library.

There may be scripts, srun and the like between the launcher and this process. Conversely, the launcher's
variables may be left over in the shell of a process that it never started. It is therefore recognised by its
command line and environment, and not by being the parent.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cofi_dist.system.variables import read_variable

if TYPE_CHECKING:
    import psutil  # slow to import, and few processes have a launcher

MODULES = ("torch.distributed.run", "torch.distributed.launch")
PROGRAMS = ("torchrun", "torchrun.exe")
SCRIPTS = (*(f"/{name}" for name in PROGRAMS), *(f"/{name.replace('.', '/')}.py" for name in MODULES))


@dataclass(frozen=True)
class Launcher:
    """Describe the launcher of this process.

    Attributes:
        process: the process, identified by PID and start time, so that no later one is taken for it.
        is_torchrun: whether it is torchrun, which may be ended, and not a program of the user.
    """

    process: "psutil.Process"
    is_torchrun: bool

    @classmethod
    def find(cls) -> Self | None:
        """Return the nearest ancestor that started this process as one of its ranks, or None."""
        run, several = read_variable("TORCHELASTIC_RUN_ID"), read_variable("WORLD_SIZE") not in ("", "1")
        if not run:
            return None
        import psutil

        with suppress(psutil.Error):  # an ancestor has just ended, or belongs to another user
            child = psutil.Process()
            for process in child.parents():
                if _has(child, run):
                    if is_torchrun(process.cmdline()):
                        return cls(process, is_torchrun=True)
                    # A shell with left-over variables looks the same, but starts a process on its own.
                    if several and not _has(process, run):
                        return cls(process, is_torchrun=False)
                child = process
        return None

    @property
    def since(self) -> float:
        """Return when it started, in seconds since the epoch."""
        return float(self.process.create_time())

    def is_alive(self) -> bool:
        """Return whether it is still running."""
        import psutil

        try:
            return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def end(self) -> None:
        """Ask torchrun to end, or else it would restart all ranks when this one stops."""
        import psutil

        if self.is_torchrun:
            with suppress(psutil.Error):
                self.process.terminate()


def is_torchrun(command: list[str]) -> bool:
    """Return whether a command line starts torchrun, in any of its spellings."""
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
            if letter in "WX":  # these options take a value, here or in the next word
                if not word[place:]:
                    next(words, "")
                break
    return False


def _has(process: "psutil.Process", run: str) -> bool:
    """Return whether a process has the variables of this run; True if they cannot be read."""
    import psutil

    try:
        return process.environ().get("TORCHELASTIC_RUN_ID", "").strip() == run
    except psutil.AccessDenied:
        return True
