"""One harm, one command: how it ends, in this process."""

import contextlib
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cofi_dist.cli.main import app
from cofi_dist.cli.session import Session
from cofi_dist.errors import CofiError
from tools.damage import world
from tools.damage.harms import Harm

SECONDS = 60  # after which a try has come to a halt; a fine one takes one or two


class HangError(BaseException):
    """A try did not end."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        said: the message of a refusal; empty where there was none.
        bad: what must not be; empty if nothing was.
        seconds: of this process's processor.
        megabytes: by which the most memory that it ever had has grown.
        how: in a word or two.
    """

    said: str
    bad: str
    seconds: float
    megabytes: float
    how: str


def attempt(arguments: Sequence[str]) -> Outcome:
    """Call a command as the command line does."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    said = bad = used = ""
    with _captured() as written:
        try:
            app(list(arguments), standalone_mode=False, obj=Session())
        except CofiError as error:
            said = str(error)
        except HangError:
            bad = "hangs"
        except Exception as error:
            used = type(error).__name__  # of the command line's own errors; `Exit` is no error
            if not hasattr(error, "format_message") and not hasattr(error, "exit_code"):
                bad = f"{type(error).__module__}.{type(error).__name__}: {str(error)[:200]}"
        except BaseException as error:
            bad = f"{type(error).__name__}: {str(error)[:200]}"
    text = written.read_text(errors="replace")
    written.unlink()
    for word in ("Traceback", "panicked"):
        if word in text:
            bad = bad or f"prints {word}: {text[-300:]}"
    if len(said) > 600 or not said.isprintable():
        bad = bad or f"says: {said!r:.600}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    how = "refused" if said else used or "fine"
    return Outcome(said, bad, time.process_time() - started, (peak - before) / 1024, how)


@contextlib.contextmanager
def _captured() -> Iterator[Path]:
    """Both streams to a file, whoever writes; and an alarm, should it never end."""

    def ring(*_: object) -> None:
        raise HangError

    handle, name = tempfile.mkstemp()
    kept = [os.dup(1), os.dup(2)]
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    old = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        with (
            open(1, "w", closefd=False) as out,
            open(2, "w", closefd=False) as err,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            yield Path(name)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(handle)


@dataclass(frozen=True)
class Try:
    """One harm to one file, and one command that reads it."""

    file: str
    what: str
    harm: Harm
    command: list[str]

    @property
    def name(self) -> str:
        return f"{self.file} {self.what}: {' '.join(self.command)}"


@dataclass(frozen=True)
class Worlds:
    """Where the world was built, which paths in it name, and a copy of it that nothing touches."""

    place: Path
    pristine: Path


def build_twice(directory: Path) -> Worlds:
    worlds = Worlds(directory / "world", directory / "pristine")
    world.build(worlds.place)
    worlds.place.rename(worlds.pristine)
    return worlds


def all_tries(worlds: Worlds) -> list[Try]:
    return [Try(*each[:3], command) for each in world.tries(worlds.pristine) for command in each[3]]


def attempt_at(worlds: Worlds, tried: Try) -> Outcome:
    """Harm the file in the world as it was built, and call the command there."""
    here, words = Path.cwd(), " ".join(tried.command)
    worlds.place.mkdir()
    os.chdir(worlds.place)
    try:
        for path in worlds.pristine.iterdir():
            if path.is_file():
                shutil.copy(path, worlds.place)
            elif path.name in words or path.name == tried.file.partition("/")[0]:
                shutil.copytree(path, worlds.place / path.name)
        try:
            tried.harm(worlds.place / tried.file)
        except Exception as error:  # it can't be done to this file
            return Outcome("", "", 0.0, 0.0, f"not done: {type(error).__name__}")
        outcome = attempt(tried.command)
        return replace(outcome, bad="runs code") if Path("exploded").exists() else outcome
    finally:
        os.chdir(here)
        shutil.rmtree(worlds.place)
