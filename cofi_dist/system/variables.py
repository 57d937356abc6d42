"""Read all environment variables that decide how this package runs; no other module reads any.

Shells, notebooks and schedulers leave such variables behind. An empty variable counts as unset. A value that
makes no sense is refused by name if it would decide something, and ignored otherwise.
"""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from cofi_dist.errors import ConfigError

LOWEST, HIGHEST = 0, 999_999_999
TOKEN_LENGTH = 16  # at least, because messages can be tried against guesses
LOOPBACKS = ("lo", "lo0")
ONE = "unset WORLD_SIZE to run in one process, or start the ranks with torchrun"


@dataclass(frozen=True)
class Variable:
    """Document one variable.

    Attributes:
        used: which part of the package uses it, and for what.
        wrong: what happens if its value makes no sense, or was left by another job.
    """

    used: str
    wrong: str


_REFUSED = "refused by name, where WORLD_SIZE is 2 or more; else not looked at"
_MISSED = "as many ranks never come: refused after 60 s, by name; not a number, or below 1: refused at once"
_AT_ONCE = "not a number, or below what it may be: refused by name"
_TOLD = "the run says so, and goes on without it"
_NAMED = "only told from other jobs by it: any text will do"

VARIABLES: Mapping[str, Variable] = {
    # set by torchrun for the ranks
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
    # set by srun and mpirun, which start processes that know nothing of each other
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
    # read by NVIDIA's libraries
    "NVIDIA_TF32_OVERRIDE": Variable(
        "ranking: set, and not 0, lists on CUDA are filtered in float64, as float32 would be rounded", _NAMED
    ),
    # set by SLURM for the job
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
    # set by the user who starts the ranks
    "COFI_DIST_TOKEN": Variable(
        "distributed: a secret that all ranks must hold, so that nobody else is taken for one",
        f"under {TOKEN_LENGTH} characters, or not the others': refused, where WORLD_SIZE is 2 or more",
    ),
    "GLOO_SOCKET_IFNAME": Variable(
        "gloo: the network card that ranks connect by; if unset, the loopback where all are on one host",
        "gloo finds no such card: refused as it is",
    ),
    **dict.fromkeys(
        ("NCCL_SOCKET_IFNAME", "NCCL_IB_HCA", "NCCL_IB_DISABLE", "NCCL_DEBUG"),
        Variable(
            "nccl: the network between ranks on CUDA, and what is said of it", "nccl says so, and fails"
        ),
    ),
    # read by sbatch, where they override the script
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
    # read by libraries
    "NUMBA_NUM_THREADS": Variable("numba: the most threads of the compiled loops", _AT_ONCE),
    "NUMBA_DISABLE_JIT": Variable("numba: 1: nothing is compiled", f"{_AT_ONCE}; 1: by what needs the loops"),
    "NUMBA_THREADING_LAYER": Variable("numba: what starts its threads", "refused by what needs the loops"),
    "NUMBA_CACHE_DIR": Variable(
        "cost: where compiled loops are kept", "another folder is taken, and that is said"
    ),
    **dict.fromkeys(
        ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"),
        Variable("mlflow: the store and the experiment; docs/trackers.md", _TOLD),
    ),
    **dict.fromkeys(
        ("WANDB_PROJECT", "WANDB_NAME", "WANDB_RUN_ID", "WANDB_DIR", "WANDB_DATA_DIR"),
        Variable("wandb: what the run is called, and where its files lie; docs/trackers.md", _TOLD),
    ),
    "POLARS_MAX_THREADS": Variable("polars: its threads", _AT_ONCE),
    "OMP_NUM_THREADS": Variable("torch and the compiled loops: their threads", "libgomp says so; all cores"),
    "CUDA_VISIBLE_DEVICES": Variable("torch: which devices there are", "there are none: the CPU"),
    "MPLBACKEND": Variable("matplotlib: where it shows pictures; ours are files", "unset: nothing is shown"),
    "MPLCONFIGDIR": Variable("matplotlib: a folder to write to", "named where no other can be written"),
    **dict.fromkeys(
        ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM"),
        Variable("streams and rich: the width and the colours of tables and bars", "as if unset"),
    ),
}
# Variables that must be numbers, or a library would fail or complain at length; and their lowest values.
NUMBERS = {"NUMBA_NUM_THREADS": 1, "NUMBA_DISABLE_JIT": 0, "POLARS_MAX_THREADS": 1}


def read_variable(name: str) -> str:
    """Return the value of one of VARIABLES; empty if it is unset."""
    assert name in VARIABLES, name
    return os.environ.get(name, "").strip()


def set_default(name: str, value: str) -> None:
    """Set one of VARIABLES for a library of this process, unless the user has."""
    assert name in VARIABLES, name
    if not read_variable(name):
        os.environ[name] = value


def read_token() -> str:
    """Return the secret that the ranks of a job share; empty if there is none.

    Raises:
        ConfigError: it is too short or empty.
    """
    text = read_variable("COFI_DIST_TOKEN")
    if "COFI_DIST_TOKEN" in os.environ and len(text) < TOKEN_LENGTH:
        raise ConfigError(
            f"COFI_DIST_TOKEN: has {len(text)} characters; give it {TOKEN_LENGTH} or more that nobody can"
            " guess, such as of `openssl rand -hex 16`, or unset it"
        )
    return text


@contextmanager
def preferring_loopback() -> Iterator[None]:
    """Let gloo connect ranks by the loopback device in this context, unless the user has chosen a device."""
    name = "GLOO_SOCKET_IFNAME"
    loopbacks = {device for _, device in socket.if_nameindex()}.intersection(LOOPBACKS)
    if name in os.environ or not loopbacks:
        yield
        return
    os.environ[name] = min(loopbacks)
    try:
        yield
    finally:
        os.environ.pop(name, None)


def clean_library_variables() -> None:
    """Remove variables that libraries cannot use; to be called before the libraries are imported.

    Raises:
        ConfigError: a variable that they read makes no sense.
    """
    for name, low in NUMBERS.items():
        if read_variable(name):
            read_whole_number(name, low, advice="unset it")
        else:
            os.environ.pop(name, None)
    os.environ.pop("MPLBACKEND", None)  # set by a notebook, and valid only in its own Python


def read_whole_number(name: str, low: int = LOWEST, high: int = HIGHEST, advice: str = ONE) -> int:
    """Return the whole number that a variable is set to.

    Raises:
        ConfigError: it is not a whole number or out of range; the message ends with the advice.
    """
    text = read_variable(name)
    number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII) else None
    if number is None or not low <= number <= high:
        to = f" to {high}" if high < HIGHEST else " or more"
        raise ConfigError(f"{name}={text}: must be a whole number, {low}{to}; {advice}")
    return number


@dataclass(frozen=True)
class RankPlacement:
    """Describe the place of this process among the ranks.

    Attributes:
        rank: number of this rank.
        world_size: number of ranks.
        local_rank: number of this rank on its node.
        local_world_size: number of ranks on this node.
        host: the host at which the ranks meet.
        port: the port at which they meet.
        has_agent: whether torchrun holds the store there, rather than rank 0.
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


def read_placement() -> RankPlacement | None:
    """Return the place of this process among the ranks, or None for a single process.

    Raises:
        ConfigError: a variable is missing or makes no sense; or srun or mpirun started several processes,
            which would know nothing of each other.
    """
    if not read_variable("WORLD_SIZE"):
        _refuse_tasks()
        return None
    world_size = read_whole_number("WORLD_SIZE", 1)
    if world_size == 1:
        return None
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not read_variable(name)]
    if missing:
        raise ConfigError(f"WORLD_SIZE={world_size}, but {' and '.join(missing)} not set; {ONE}")
    local_rank = read_whole_number("LOCAL_RANK", 0, world_size - 1) if read_variable("LOCAL_RANK") else 0
    here = read_variable("LOCAL_WORLD_SIZE")
    return RankPlacement(
        rank=read_whole_number("RANK", 0, world_size - 1),
        world_size=world_size,
        local_rank=local_rank,
        local_world_size=read_whole_number("LOCAL_WORLD_SIZE", local_rank + 1, world_size)
        if here
        else local_rank + 1,
        host=read_variable("MASTER_ADDR").strip("[]"),
        port=read_whole_number("MASTER_PORT", 1, 65535),
        has_agent=read_variable("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )


def _refuse_tasks() -> None:
    """Raise ConfigError if srun or mpirun started other processes beside this one to do the same."""
    # A shell of salloc or sbatch belongs to no numbered step, or to a step of a single task.
    if (
        read_variable("SLURM_STEP_ID").isdecimal()
        and read_variable("SLURM_PROCID")
        and not read_variable("SLURM_PTY_PORT")
    ):
        name, by = (
            ("SLURM_STEP_NUM_TASKS" if read_variable("SLURM_STEP_NUM_TASKS") else "SLURM_NTASKS"),
            "srun",
        )
    else:
        name, by = ("OMPI_COMM_WORLD_SIZE" if read_variable("OMPI_COMM_WORLD_SIZE") else "PMI_SIZE"), "mpirun"
    tasks = read_variable(name)
    if tasks.isdecimal() and int(tasks) > 1:
        raise ConfigError(
            f"{name}={tasks}: {by} started {tasks} processes that know nothing of each other; torchrun starts"
            f" the ranks (slurm/train.sbatch, launch/torchrun.sh): start it once a node, or set WORLD_SIZE=1"
            " where each is to run alone"
        )
