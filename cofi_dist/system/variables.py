"""The environment variables that decide how this package runs: all of them, read here and nowhere else.

Shells, notebooks and schedulers leave such variables behind. An empty one counts as unset. What makes no
sense is refused by name where it would decide something, and left alone elsewhere.
"""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from cofi_dist.errors import ConfigError

LOWEST, HIGHEST = 0, 999_999_999
TOKEN_LENGTH = 16  # at least: what is sent can be tried against guesses
LOOPBACKS = ("lo", "lo0")
ONE = "unset WORLD_SIZE to run in one process, or start the ranks with torchrun"


@dataclass(frozen=True)
class Variable:
    """One of them.

    Attributes:
        used: by which part of the package, and for what.
        wrong: what comes of a value that makes no sense, or of one that another job left.
    """

    used: str
    wrong: str


_REFUSED = "refused by name, where WORLD_SIZE is 2 or more; else not looked at"
_MISSED = "as many ranks never come: refused after 60 s, by name; not a number, or below 1: refused at once"
_AT_ONCE = "not a number, or below what it may be: refused by name"
_NAMED = "only told from other jobs by it: any text will do"

VARIABLES: Mapping[str, Variable] = {
    # of torchrun, for the ranks
    "WORLD_SIZE": Variable("distributed: how many ranks there are; 1 or unset: one process", _MISSED),
    "RANK": Variable("distributed: which of them this is, from 0", _REFUSED),
    "LOCAL_RANK": Variable("distributed: which of this node's, and so its CUDA device; 0 if unset", _REFUSED),
    "LOCAL_WORLD_SIZE": Variable(
        "distributed: how many ranks this node has; LOCAL_RANK + 1 if unset", _REFUSED
    ),
    "MASTER_ADDR": Variable("distributed: the host that the ranks meet at", _MISSED),
    "MASTER_PORT": Variable("distributed: its port", _REFUSED),
    "TORCHELASTIC_USE_AGENT_STORE": Variable(
        "distributed: True: torchrun holds the store at that port, else rank 0 does", _MISSED
    ),
    "TORCHELASTIC_RUN_ID": Variable(
        "launcher: torchrun started this process, if it is an ancestor; lock: the job's name", _NAMED
    ),
    "TORCHELASTIC_RESTART_COUNT": Variable(
        "stop: above 0, a STOP file is of this job, and stays", "not believed unless there is a launcher"
    ),
    "TORCHELASTIC_ERROR_FILE": Variable(
        "cli: where torchrun looks for why a rank failed", "not written where it can't be"
    ),
    # of srun and mpirun, which start processes that know nothing of each other
    **dict.fromkeys(
        ("SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_PTY_PORT"),
        Variable(
            "environment: a task of srun that has others beside it is refused; a shell of salloc, sbatch"
            " or srun --pty is not",
            "taken for one process",
        ),
    ),
    **dict.fromkeys(
        ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"),
        Variable("environment: above 1, a process of mpirun: refused", "taken for one process"),
    ),
    # of SLURM, for the job
    "SLURM_JOB_ID": Variable(
        "lock: the job's name; distributed: the same on all ranks that have one; deadline: whose end is asked"
        " for",
        _NAMED,
    ),
    **dict.fromkeys(
        ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"),
        Variable("deadline: whose end is asked for", "refused where SLURM does not know it"),
    ),
    "SLURM_JOB_END_TIME": Variable("deadline: when the job ends, in seconds of the clock", "SLURM is asked"),
    # of whoever starts the ranks
    "COFI_DIST_TOKEN": Variable(
        "distributed: a secret that all ranks must hold, so that nobody else is taken for one",
        f"under {TOKEN_LENGTH} characters, or not the others': refused, where WORLD_SIZE is 2 or more",
    ),
    "GLOO_SOCKET_IFNAME": Variable(
        "gloo: the network card that ranks connect by; if unset, the loopback where all are on one host",
        "gloo finds no such card: refused as it is",
    ),
    # of sbatch, which takes them over what a script says
    **dict.fromkeys(
        (
            *("SBATCH_TIMELIMIT", "SBATCH_SIGNAL", "SBATCH_REQUEUE", "SBATCH_NO_REQUEUE", "SBATCH_OPEN_MODE"),
            *("SBATCH_GPUS", "SBATCH_GPUS_PER_NODE", "SBATCH_GPUS_PER_TASK", "SBATCH_GRES"),
        ),
        Variable(
            "slurm: what `cofi-dist slurm` checks is what sbatch would make of it", "said as sbatch would"
        ),
    ),
    "HOME": Variable(
        "config: what ~ stands for; cost: where compiled loops may be kept", "refused where it is asked for"
    ),
    # of libraries
    "NUMBA_NUM_THREADS": Variable("numba: the most threads of the compiled loops", _AT_ONCE),
    "NUMBA_DISABLE_JIT": Variable("numba: 1: nothing is compiled", f"{_AT_ONCE}; 1: by what needs the loops"),
    "NUMBA_THREADING_LAYER": Variable("numba: what starts its threads", "refused by what needs the loops"),
    "NUMBA_CACHE_DIR": Variable(
        "cost: where compiled loops are kept", "another folder is taken, and that is said"
    ),
    "POLARS_MAX_THREADS": Variable("polars: its threads", _AT_ONCE),
    "OMP_NUM_THREADS": Variable("torch and the compiled loops: their threads", "libgomp says so; all cores"),
    "CUDA_VISIBLE_DEVICES": Variable("torch: which devices there are", "there are none: the CPU"),
    "MPLBACKEND": Variable("matplotlib: where it shows pictures; ours are files", "unset: nothing is shown"),
    "MPLCONFIGDIR": Variable("matplotlib: a folder to write to", "named where no other can be written"),
    **dict.fromkeys(
        ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM"),
        Variable("rich: how the bar is drawn, on a terminal", "as if unset"),
    ),
}
# those that a library would fail or complain at length about, and the lowest number that they may be
NUMBERS = {"NUMBA_NUM_THREADS": 1, "NUMBA_DISABLE_JIT": 0, "POLARS_MAX_THREADS": 1}


def read(name: str) -> str:
    """What one of VARIABLES is set to; empty if unset."""
    assert name in VARIABLES, name
    return os.environ.get(name, "").strip()


def token() -> str:
    """The secret that the ranks of a job share; empty for none.

    Raises:
        ConfigError: it is too short, or set to nothing.
    """
    text = read("COFI_DIST_TOKEN")
    if "COFI_DIST_TOKEN" in os.environ and len(text) < TOKEN_LENGTH:
        raise ConfigError(
            f"COFI_DIST_TOKEN: has {len(text)} characters; give it {TOKEN_LENGTH} or more that nobody can"
            " guess, such as of `openssl rand -hex 16`, or unset it"
        )
    return text


def by_loopback() -> None:
    """Let gloo connect the ranks, all on this host, where no other host can reach them; unless it is told."""
    for name in {name for _, name in socket.if_nameindex()}.intersection(LOOPBACKS):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


def settle() -> None:
    """Leave libraries, before they are imported, only what they can use.

    Raises:
        ConfigError: a variable that they take makes no sense.
    """
    for name, low in NUMBERS.items():
        if read(name):
            whole(name, low, advice="unset it")
        else:
            os.environ.pop(name, None)
    os.environ.pop("MPLBACKEND", None)  # a notebook's, which only the notebook's own Python may have


def whole(name: str, low: int = LOWEST, high: int = HIGHEST, advice: str = ONE) -> int:
    """The whole number that a variable is set to; else the advice is given.

    Raises:
        ConfigError: it is none, or out of range.
    """
    text = read(name)
    number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII) else None
    if number is None or not low <= number <= high:
        to = f" to {high}" if high < HIGHEST else " or more"
        raise ConfigError(f"{name}={text}: must be a whole number, {low}{to}; {advice}")
    return number


@dataclass(frozen=True)
class Place:
    """Of this process among several ranks.

    Attributes:
        rank: its number.
        world_size: how many there are.
        local_rank: its number on this node.
        local_world_size: how many this node has.
        host: that they meet at.
        port: of that host.
        has_agent: torchrun holds the store there, not rank 0.
    """

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    host: str
    port: int
    has_agent: bool

    def __str__(self) -> str:
        return (
            f"RANK={self.rank} WORLD_SIZE={self.world_size} MASTER_ADDR={self.host} MASTER_PORT={self.port}"
        )


def place() -> Place | None:
    """Where the variables put this process; None for one alone.

    Raises:
        ConfigError: a variable that is needed is missing, or makes no sense; or the process was started by
            srun or mpirun beside others, which it would know nothing of.
    """
    if not read("WORLD_SIZE"):
        _refuse_tasks()
        return None
    world_size = whole("WORLD_SIZE", 1)
    if world_size == 1:
        return None
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not read(name)]
    if missing:
        raise ConfigError(f"WORLD_SIZE={world_size}, but {' and '.join(missing)} not set; {ONE}")
    local_rank = whole("LOCAL_RANK", 0, world_size - 1) if read("LOCAL_RANK") else 0
    here = read("LOCAL_WORLD_SIZE")
    return Place(
        rank=whole("RANK", 0, world_size - 1),
        world_size=world_size,
        local_rank=local_rank,
        local_world_size=whole("LOCAL_WORLD_SIZE", local_rank + 1, world_size) if here else local_rank + 1,
        host=read("MASTER_ADDR").strip("[]"),
        port=whole("MASTER_PORT", 1, 65535),
        has_agent=read("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )


def _refuse_tasks() -> None:
    """Raise ConfigError where other processes were started beside this one, to do the same."""
    # a step has a number; a shell that salloc or sbatch started is in none, or in one of a single task
    if read("SLURM_STEP_ID").isdecimal() and read("SLURM_PROCID") and not read("SLURM_PTY_PORT"):
        name, by = ("SLURM_STEP_NUM_TASKS" if read("SLURM_STEP_NUM_TASKS") else "SLURM_NTASKS"), "srun"
    else:
        name, by = ("OMPI_COMM_WORLD_SIZE" if read("OMPI_COMM_WORLD_SIZE") else "PMI_SIZE"), "mpirun"
    tasks = read(name)
    if tasks.isdecimal() and int(tasks) > 1:
        raise ConfigError(
            f"{name}={tasks}: {by} started {tasks} processes that know nothing of each other; torchrun starts"
            f" the ranks (slurm/train.sbatch, launch/torchrun.sh): start it once a node, or set WORLD_SIZE=1"
            " where each is to run alone"
        )
