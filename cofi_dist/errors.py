"""What can go wrong through no fault of the code.

The message of every one of these names the file, line or config key and what to do, on one line.
The command line prints it and exits with its code; any other exception is a bug of ours and shows a
traceback.
"""

from collections.abc import Mapping


class CofiError(Exception):
    """Base of the family.

    Args:
        message: put on one line.
        shared: every rank raises this same error, so rank 0 alone prints it.
    """

    exit_code = 2

    def __init__(self, message: str, *, shared: bool = False) -> None:
        line = " ".join(message.split())
        # names of files and columns are in it, and a terminal would obey what they hold
        plain = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
        super().__init__("".join(plain))
        self.shared = shared


class ConfigError(CofiError):
    """A config file, an override or an option of the command line."""


class DataError(CofiError):
    """Ratings that can't be used: the file and the line, or the array and the cell."""


class RunError(CofiError):
    """A run directory or a model."""


class FailedError(RunError):
    """The training itself failed: ranks that do not meet, a bug, bad hardware, a cost that is not finite."""

    exit_code = 1


class CheckpointError(CofiError):
    """A checkpoint that can't be used: the file, and what is wrong with it."""


class NewerError(CheckpointError):
    """A newer version's, which can read it."""


class UnreadableError(CheckpointError):
    """It could not be read just now: nothing is known of its content."""

    exit_code = 1


class LostError(CofiError):
    """Where the run's state or model is to be saved, it can't be; what was saved before is as it was."""

    exit_code = 1


class PeerError(CofiError):
    """Another rank went away; its own message says why."""

    exit_code = 1


class StoppedError(CofiError):
    """Somebody asked the run to stop, and it did, in a state from which it can go on.

    Args:
        message: put on one line.
        shared: every rank raises this same error.
        restart: other ranks' launchers may start again what is left.
    """

    exit_code = 75

    def __init__(self, message: str, *, shared: bool = False, restart: bool = False) -> None:
        super().__init__(message, shared=shared)
        self.restart = restart


_FAMILY: Mapping[str, type[CofiError]] = {
    kind.__name__: kind
    for kind in (
        *(CofiError, ConfigError, DataError, RunError, FailedError, CheckpointError, NewerError),
        *(UnreadableError, LostError, PeerError, StoppedError),
    )
}


def to_words(error: CofiError) -> dict[str, str]:
    """Of which kind it is, and its message, for other ranks; a kind of another module counts as its base."""
    kind = next(base.__name__ for base in type(error).__mro__ if base.__name__ in _FAMILY)
    return {"type": kind, "message": str(error)}


def from_words(words: Mapping[str, str]) -> CofiError:
    """The error that `to_words` described.

    Raises:
        KeyError: it is none of the family.
    """
    return _FAMILY[words["type"]](str(words["message"]))
