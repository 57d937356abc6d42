"""Find what is commonly wrong with a batch script that trains, before it waits in a queue."""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from cofi_dist.config import Config
from cofi_dist.slurm.container import PYXIS_IMAGE, named_paths, read_targets
from cofi_dist.slurm.sbatch import Script

# SLURM checks time limits every so many seconds, and warns at the check before.
LATE_SECONDS = 30
# Linux assigns ports from here on to outgoing connections.
FIRST_EPHEMERAL_PORT = 32768
# The signals that torchrun handles if it is not told others.
HANDLED_SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT"
# File systems that one host has for itself, unless it exports them.
LOCAL_FILE_SYSTEMS = frozenset(
    ["btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "vfat", "xfs", "zfs"]
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Describe something that is, or may be, wrong.

    Attributes:
        certain: whether the job would certainly fail, or do what nobody wants.
        text: the option or key, what is wrong with it, and what to do.
    """

    certain: bool
    text: str


def _error(text: str) -> Finding:
    return Finding(certain=True, text=text)


def _warning(text: str) -> Finding:
    return Finding(certain=False, text=text)


def check_script(script: Script, config: Config) -> list[Finding]:
    """Return what is wrong with a script.

    Args:
        script: the script that would be submitted.
        config: the config of the run that it trains.

    Raises:
        ConfigError: the value of an option cannot be read.
    """
    return [
        *_check_tasks(script),
        *_check_port(script),
        *_check_run_dir(script, config),
        *_check_requeueing(script, config),
        *_check_time(script),
        *_check_signal(script),
        *_check_devices(script, config),
        *_check_container(script, config),
    ]


def _check_tasks(script: Script) -> Iterator[Finding]:
    per_node, total = script.options.get("ntasks-per-node"), script.options.get("ntasks")
    if per_node not in (None, "1"):
        yield _error(
            f"--ntasks-per-node={per_node}: a node would get {per_node} torchruns, each with all its ranks;"
            " set it to 1",
        )
    if total not in (None, str(script.nodes)):
        yield _error(
            f"--ntasks={total}: torchrun is one task per node, and there are {script.nodes} nodes;"
            " leave it out, and set --ntasks-per-node=1",
        )
    elif per_node is None and total is None and script.nodes > 1:
        yield _error("--ntasks-per-node: is missing; SLURM may put all tasks on one node; set it to 1")


def _check_port(script: Script) -> Iterator[Finding]:
    port = script.default_of("PORT") or _search(r"--rdzv[-_]endpoint[= ]\S*?:(\d+)", script.text)
    if port is None or not port.isdecimal():
        return  # the script makes it from the number of its job
    if not 1024 <= int(port) < 65536:
        yield _error(f"port {port}: users cannot listen on it; take one from 1024 to 32767")
    elif int(port) >= FIRST_EPHEMERAL_PORT:
        yield _warning(
            f"port {port}: Linux assigns such ports to outgoing connections; take one from 1024 to 32767",
        )
    yield _warning(
        f"port {port}: is the same for all jobs, and two of them may share a node; make it from SLURM_JOB_ID",
    )


def _check_run_dir(script: Script, config: Config) -> Iterator[Finding]:
    kind = _file_system(Path(config.run_dir))
    if script.nodes > 1 and kind in LOCAL_FILE_SYSTEMS:
        yield _warning(f"run_dir: {config.run_dir} is on {kind} of this host; see that all nodes have it too")


def _file_system(path: Path) -> str:
    """Return the kind of the file system that holds the path, or would hold it."""
    mounted = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    for parent in (path.absolute(), *path.absolute().parents):
        if str(parent) in mounted:
            return mounted[str(parent)]
    return ""


def _check_requeueing(script: Script, config: Config) -> Iterator[Finding]:
    """Find what is wrong with a job that is requeued, by its script or by SLURM."""
    by_script = re.search(r"^[^#\n]*scontrol requeue", script.text, re.MULTILINE) is not None
    by_slurm = "requeue" in script.options
    if by_script and not by_slurm:
        why = "--no-requeue forbids it" if "no-requeue" in script.options else "a site may forbid it"
        yield _error(f"--requeue: is missing; the script requeues the job, and {why}")
    if not by_script and "signal" in script.options:
        yield _warning(
            "--signal: the script is warned, but does not call scontrol requeue; see train_requeue.sbatch",
        )
    if by_script and _leaves_unasked(script, config.train.deadline):
        yield _error(
            f"train.deadline: {config.train.deadline:g} makes the run leave before --signal warns the script,"
            " which takes that for a failure and does not requeue the job; leave it out",
        )
    if not (by_script or by_slurm):
        return
    if script.options.get("open-mode") != "append":
        yield _warning("--open-mode: set it to append, or a requeued job overwrites its earlier output")
    if config.checkpoint.resume not in ("auto", "none"):
        yield _error(
            f"checkpoint.resume: a requeued job would not resume from its own checkpoints, but from"
            f" {config.checkpoint.resume}; start from there once by hand, then set it to auto",
        )
    elif config.checkpoint.resume != "auto" and "checkpoint.resume=auto" not in script.text:
        yield _error("checkpoint.resume: set it to auto, or a requeued job finds its run_dir taken and fails")
    if config.checkpoint.every is None:
        yield _warning(
            "checkpoint.every: is not set; if a node fails, all epochs since the last warning are lost",
        )


def _leaves_unasked(script: Script, deadline: float | None) -> bool:
    """Return whether the run leaves by itself before the script is warned."""
    if deadline is None or script.lead is None:
        return False
    left = -deadline if deadline < 0 else (script.seconds or math.inf) - deadline
    return left > script.lead


def _check_time(script: Script) -> Iterator[Finding]:
    """Find what is wrong with the times of a script that is warned before its time limit."""
    seconds, lead = script.seconds, script.lead
    if lead is None:
        return
    if seconds is not None and seconds <= lead + LATE_SECONDS:
        yield _error(
            f"--time: {seconds} s in all, and --signal warns up to {lead + LATE_SECONDS} s before the end;"
            " no time is left to train; give more time",
        )
    wait = script.default_of("SAVE_SECONDS")
    if wait is not None and wait.isdecimal() and int(wait) >= lead:
        yield _error(
            f"SAVE_SECONDS={wait}: torchrun would wait longer than the {lead} s of --signal; take less"
        )


def _check_signal(script: Script) -> Iterator[Finding]:
    """Find out whether the warning before the time limit reaches the script, and torchrun survives it."""
    signal = script.signal
    if signal is None:
        return
    name = f"SIG{signal.name}"
    handled = _search(r"--signals[-_]to[-_]handle[= ]?(\S*)", script.text) or HANDLED_SIGNALS
    named = handled.replace('"', "").replace("'", "")
    if re.search(r"torchrun|torch\.distributed\.run", script.text) and name not in named.split(","):
        finding = _warning if "$" in named else _error  # only the shell knows a list in a variable
        yield finding(
            f"--signals-to-handle: torchrun dies of {name} if it is not named; see train_requeue.sbatch"
        )
    if not signal.to_shell:
        yield _error("--signal: write B:USR1@SECONDS; without B: the script itself is not warned")


def _check_devices(script: Script, config: Config) -> Iterator[Finding]:
    asked = (script.options.get(key, "0") for key in ("gpus-per-node", "gpus", "gres", "gpus-per-task"))
    gpus = any(number != "0" for number in asked)
    if config.device == "cuda" and not gpus:
        yield _error("device: is cuda, but no GPUs are asked for; set --gpus-per-node")
    if config.device == "cpu" and gpus:
        yield _error(
            "device: is cpu, but GPUs are asked for; give --gpus-per-node 0; in a script, leave it out"
        )


def _check_container(script: Script, config: Config) -> Iterator[Finding]:
    if PYXIS_IMAGE.removeprefix("--") in script.options:
        yield _error(
            f"{PYXIS_IMAGE}: sbatch would run the script itself in the image, which has no srun;"
            " write it in CONTAINER, for srun"
        )
    if not script.container:
        return
    targets = read_targets(script.container)
    for path in named_paths(config):
        place = Path(os.path.abspath(path))
        if not any(place == target or target in place.parents for target in targets):
            yield _warning(
                f"{place}: no mount of the container has it; if the image does not either, mount it"
            )


def _search(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found.group(1) if found else None
