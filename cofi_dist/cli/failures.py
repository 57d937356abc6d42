"""Report whatever ends a command other than success, and choose the exit code of the process."""

import errno
import json
import signal
import sys
import time
import traceback
from contextlib import suppress
from typing import Any

import typer

from cofi_dist.cli.session import Session
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import CofiError, RankLostError, RunError, StoppedError, TrainingError
from cofi_dist.run.stop import Interrupted
from cofi_dist.streams import MARK, OutputError, log_stderr, redirect_to_devnull, tolerate_write_errors
from cofi_dist.system.memory import is_out_of_memory
from cofi_dist.system.variables import read_variable

# What is wrong with a path that cannot even be looked at: whoever named it has to name another.
UNUSABLE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE, errno.EIO)


def exit_code(error: BaseException, session: Session) -> int:
    """Print what went wrong, or what ended the command, and return the exit code."""
    if session.stop.raised is not None and not isinstance(error, CofiError | typer.Exit):
        # a library caught the signal as an error of its own, and then failed for what it had not done
        error = session.stop.raised
    if isinstance(error, OSError) and error.errno in UNUSABLE and error.filename is not None:
        error = RunError(f"{error.filename}: cannot be used: {error.strerror}")
    if isinstance(error, CofiError):
        if isinstance(error, StoppedError) and not error.restart:
            session.stop.end_launcher()
        return _print_error(error, session.comm)
    if isinstance(error, Interrupted):
        name = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
        log_stderr(name.get(signal.Signals(error.number), "stopped by a signal"), mark=MARK)
        return 128 + error.number
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, OutputError):
        log_stderr(str(error), mark=MARK)
        redirect_to_devnull(sys.stdout)
        return 1
    if is_out_of_memory(error):
        return _print_error(TrainingError(f"there is not enough memory: {error}"), session.comm)
    assert isinstance(error, Exception)
    return _print_usage_error(error) if hasattr(error, "format_message") else _print_traceback(error)


def flush_streams(code: int) -> int:
    """Write what the streams still hold, and return the exit code: 1 if only that went wrong."""
    failures: list[str] = []
    with tolerate_write_errors(sys.stdout, failures.append):
        sys.stdout.flush()
    for text in failures:
        log_stderr(text, mark=MARK)
    with tolerate_write_errors(sys.stderr):
        sys.stderr.flush()
    return code or len(failures)


def _print_usage_error(error: Any) -> int:
    """Print what is wrong with a command or option, in click's words, on one line; return the exit code.

    A command that was given nothing prints its help.
    """
    if type(error).__name__ == "NoArgsIsHelpError":
        log_stderr(error.format_message())
        return 2
    said = " ".join(error.format_message().split()).removesuffix(".").replace(": Value error,", ":")
    command = error.ctx.command_path if getattr(error, "ctx", None) else "cofi-dist"
    log_stderr(f"{said}; see `{command} --help`", mark=MARK)
    return 2


def _print_traceback(error: Exception) -> int:
    """Print the traceback of a bug of ours, and return the exit code."""
    log_stderr(traceback.format_exc().rstrip())
    _tell_launcher(f"{type(error).__name__}: {error}")
    return 1


def _print_error(error: CofiError, comm: Comm | None) -> int:
    """Print the error once for all ranks that have met, or else once per node; return the exit code."""
    who = ""
    if comm is None and error.shared and read_variable("LOCAL_RANK") not in ("", "0"):
        return error.exit_code
    if comm is not None and comm.world_size > 1:
        if error.shared and comm.rank != 0:
            return error.exit_code
        who = "" if error.shared else f"rank {comm.rank}: "
    log_stderr(f"{who}{error}", mark=MARK)
    if not isinstance(error, RankLostError):
        _tell_launcher(str(error))
    return error.exit_code


def _tell_launcher(message: str) -> None:
    """Write the message where torchrun looks for the root cause of a failure."""
    file = read_variable("TORCHELASTIC_ERROR_FILE")
    if file:
        # the form that torchrun's own error handler writes; py_callstack is what it prints
        details = {"py_callstack": message, "timestamp": str(int(time.time()))}
        # the file may belong to a torchrun that is long gone
        with suppress(OSError), open(file, "w") as handle:
            json.dump({"message": {"message": message, "extraInfo": details}}, handle)
