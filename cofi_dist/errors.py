"""Define the errors that are not a bug of the package, and their exit codes.

The message of each error fits on one line. It names the file, line or config key, and says what to do.
The command line prints the message and exits with the code; any other exception is a bug and shows a
traceback.
"""

from collections.abc import Mapping


class CofiError(Exception):
    """Report an error that is not a bug of the package.

    Args:
        message: what is wrong, where, and what to do; put on one line.
        shared: every rank raises the same error, so only rank 0 prints it.
    """

    exit_code = 2
    """What the command line exits with."""

    def __init__(self, message: str, *, shared: bool = False) -> None:
        line = " ".join(message.split())
        # The message quotes names of files and columns, whose control characters a terminal would obey.
        plain = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
        super().__init__("".join(plain))
        self.shared = shared


class ConfigError(CofiError):
    """Report that a config file, an override or a command-line option is wrong."""


class DataError(CofiError):
    """Report that ratings cannot be used; the message names the file and line, or the array and cell."""


class RunError(CofiError):
    """Report that a run directory or a model cannot be used."""


class TrainingError(RunError):
    """Report that the work itself failed: the ranks do not meet, a cost is not finite, or memory runs out."""

    exit_code = 1


class CheckpointError(CofiError):
    """Report that a checkpoint cannot be used; the message names the file and what is wrong with it."""


class CheckpointVersionError(CheckpointError):
    """Report that a checkpoint was written by a newer version, which alone can read it."""


class CheckpointReadError(CheckpointError):
    """Report that a checkpoint cannot be read at the moment, so nothing is known about its content."""

    exit_code = 1


class SaveError(CofiError):
    """Report that the state or the model of a run cannot be saved; what was saved before is intact."""

    exit_code = 1


class RankLostError(CofiError):
    """Report that another rank was lost; its own message says why."""

    exit_code = 1


class StoppedError(CofiError):
    """Report that the run stopped because it was asked to, in a state from which it can be resumed.

    Args:
        message: put on one line.
        shared: every rank raises the same error.
        restart: the launchers of other ranks may start the ranks that are left again.
    """

    exit_code = 75

    def __init__(self, message: str, *, shared: bool = False, restart: bool = False) -> None:
        super().__init__(message, shared=shared)
        self.restart = restart


class InterruptedTrainingWarning(UserWarning):
    """Warn that a training ended early, and say after which epoch and why."""


_CLASSES: tuple[type[CofiError], ...] = (
    CofiError,
    ConfigError,
    DataError,
    RunError,
    TrainingError,
    CheckpointError,
    CheckpointVersionError,
    CheckpointReadError,
    SaveError,
    RankLostError,
    StoppedError,
)
_BY_NAME = {kind.__name__: kind for kind in _CLASSES}


def to_words(error: CofiError) -> dict[str, str]:
    """Return the class and the message of an error, to be sent to other ranks.

    A class that is defined in another module is sent as its base class from this one.
    """
    kind = next(base.__name__ for base in type(error).__mro__ if base.__name__ in _BY_NAME)
    return {"type": kind, "message": str(error)}


def from_words(words: Mapping[str, str]) -> CofiError:
    """Return the error that `to_words` described.

    Raises:
        KeyError: the class is not one of this module.
    """
    return _BY_NAME[words["type"]](str(words["message"]))
