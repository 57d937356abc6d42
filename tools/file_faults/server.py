"""Runs commands in forks of one process that has imported everything, with a file call of theirs going wrong.

shim.c is preloaded into that process; each fork is told which call below which folder goes wrong, and how.
"""

import ctypes
import gc
import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from contextlib import redirect_stdout, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
import typer

from cofi_dist.cli.main import app, main
from cofi_dist.data.datasets import catalog
from tests.support.dataset_server import toy_data_set

HERE = Path(__file__).parent
KINDS = ("open", "write", "fsync", "rename", "close", "mkdir", "unlink", "link", "read")  # as in shim.c
ACTIONS = {"once": 0, "from then on": 1, "short": 2, "kill": 3, "torn": 4}
MOST_SECONDS = 120.0
USED = (
    *("cofi_dist.model.export", "cofi_dist.report.html", "cofi_dist.report.plot", "cofi_dist.run.train"),
    *("cofi_dist.slurm.check", "cofi_dist.slurm.render", "cofi_dist.tuning.grid", "cofi_dist.tuning.trials"),
    "cofi_dist.kernels.cpu.parallel_loops",
    *("matplotlib.figure", "matplotlib.style", "polars.io.plugins", "urllib.request"),
)


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes:
        kinds: of the calls that are counted.
        at: which of them, from 1; 0 for none.
        error: its errno.
        action: one of ACTIONS.
    """

    kinds: tuple[str, ...] = KINDS
    at: int = 0
    error: int = 0
    action: str = "once"


NO_FAULT = Fault()


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; below 0, the signal that ended it.
        said: what it put on stderr.
        seen: how many calls of each kind there were.
    """

    code: int
    said: str
    seen: dict[str, int]


class Server:
    """The process that forks, as a context.

    Args:
        folder: for the shim and what commands say.
        url: of the toy data set.
    """

    def __init__(self, folder: Path, url: str) -> None:
        shim = folder / "shim.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-o", shim, HERE / "shim.c", "-ldl"],
            check=True,
            capture_output=True,
        )
        self._said = folder / "said"
        env = {**os.environ, "LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        env |= {"PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), env.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.file_faults.server", str(shim), str(self._said), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, command: list[str], folder: Path, fault: Fault = NO_FAULT, *, poor: bool = False) -> Ended:
        """Run a command line of cofi-dist in a folder; file calls below the folder are those that count.

        Args:
            command: after `cofi-dist`.
            folder: where it runs.
            fault: what goes wrong.
            poor: the file system has no exchange of names and no sync of folders, and can't rename `model`.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"command": command, "folder": str(folder.resolve()), "fault": asdict(fault), "poor": poor}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        return Ended(answer["code"], self._said.read_text(errors="replace"), answer["seen"])


def compiler() -> str | None:
    """The C compiler, if there is one."""
    return shutil.which("cc") if sys.platform.startswith("linux") else None


def _serve(shim: ctypes.CDLL, said: Path) -> None:
    """Answer requests from stdin until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _import_all()
    gc.freeze()  # so that a fork need not copy all objects to look through them
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(request, shim, said)
        deadline, ended, status = time.monotonic() + MOST_SECONDS, 0, 0
        while not ended:
            ended, status = os.waitpid(child, os.WNOHANG)
            if not ended and time.monotonic() > deadline:
                os.kill(child, signal.SIGALRM)
                deadline += 10
            time.sleep(0.002)
        seen = {kind: shim.fault_seen(number) for number, kind in enumerate(KINDS)}
        answer = {"code": os.waitstatus_to_exitcode(status), "seen": seen}
        print(json.dumps(answer), file=answers, flush=True)


def _run(request: dict[str, Any], shim: ctypes.CDLL, said: Path) -> None:
    """In the fork: the command, and no way back."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with open(os.devnull, "rb") as nothing, open(os.devnull, "wb") as nowhere, said.open("wb") as file:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nowhere.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(request["folder"])
    sys.argv = ["cofi-dist", *request["command"], sys.argv[-1]]
    fault = request["fault"]
    kinds = sum(1 << KINDS.index(kind) for kind in fault["kinds"])
    folder, action = os.fsencode(request["folder"]), ACTIONS[fault["action"]]
    shim.fault_arm(folder, kinds, fault["at"], fault["error"], action, request["poor"])
    code = 70
    try:
        _main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(bool(error.code))
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def _main() -> None:
    catalog.DATASETS["toy"] = toy_data_set(sys.argv.pop())
    main()


def _import_all() -> None:
    """All that commands import when they need it; nothing is computed, which would start threads."""
    for name in USED:
        importlib.import_module(name)
    with suppress(ImportError):
        importlib.import_module("usearch.index")
    torch.set_num_threads(1)
    with suppress(typer.Exit), redirect_stdout(io.StringIO()):  # builds all commands
        app(["--version"], standalone_mode=False)


if __name__ == "__main__":
    _serve(ctypes.CDLL(sys.argv[1]), Path(sys.argv[2]))
