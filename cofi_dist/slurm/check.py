"""What is commonly wrong with a batch script for this trainer, found before it waits in a queue."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from cofi_dist.config import Config
from cofi_dist.slurm.sbatch import Script

# SLURM looks at time limits every so many seconds, and warns at the look before.
LATE_SECONDS = 30
# Linux gives ports from here on to whoever connects somewhere
EPHEMERAL = 32768
HANDLED = "SIGTERM,SIGINT,SIGHUP,SIGQUIT"  # by torchrun, if it isn't told
# of one host alone, unless it exports them
LOCAL = {"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "vfat", "xfs", "zfs"}


@dataclass(frozen=True)
class Finding:
    """What is, or may be, wrong.

    Attributes:
        certain: the job would fail, or do what nobody wants.
        text: names the option or key, and what to do.
    """

    certain: bool
    text: str


def findings(script: Script, config: Config) -> list[Finding]:
    """What is wrong with a script that trains as the config says.

    Args:
        script: to be submitted.
        config: of its run.

    Raises:
        ConfigError: an option's value can't be read.
    """
    parts = (_tasks(script), _port(script), _shared(script, config), _again(script, config), _times(script))
    return [finding for part in (*parts, _devices(script, config)) for finding in part]


def _tasks(script: Script) -> Iterator[Finding]:
    asked = {key: script.options[key] for key in ("ntasks-per-node", "ntasks") if key in script.options}
    each = asked.get("ntasks-per-node")
    if each not in (None, "1"):
        yield Finding(
            True,
            f"--ntasks-per-node={each}: a node would get {each} torchruns, each with all of its ranks;"
            " set it to 1",
        )
    if "ntasks" in asked and asked["ntasks"] != str(script.nodes):
        yield Finding(
            True,
            f"--ntasks={asked['ntasks']}: torchrun is one task a node, and there are {script.nodes} nodes;"
            " leave it out, and set --ntasks-per-node=1",
        )
    elif each is None and "ntasks" not in asked and script.nodes > 1:
        yield Finding(True, "--ntasks-per-node: is missing; SLURM may put all tasks on one node; set it to 1")


def _port(script: Script) -> Iterator[Finding]:
    port = script.default("PORT") or _found(r"--rdzv[-_]endpoint[= ]\S*?:(\d+)", script.text)
    if port is None or not port.isdecimal():
        return  # made from the job's number
    if not 1024 <= int(port) < 65536:
        yield Finding(True, f"port {port}: is not one that a user may listen at; take one from 1024 to 32767")
    elif int(port) >= EPHEMERAL:
        yield Finding(
            False, f"port {port}: Linux hands such ports to any connection; take one from 1024 to 32767"
        )
    yield Finding(
        False,
        f"port {port}: is the same for all jobs, and two of them may share a node; make it from SLURM_JOB_ID",
    )


def _shared(script: Script, config: Config) -> Iterator[Finding]:
    kind = _file_system(Path(config.run_dir))
    if script.nodes > 1 and kind in LOCAL:
        yield Finding(
            False, f"run_dir: {config.run_dir} is on {kind} of this host; see that all nodes have it too"
        )


def _file_system(path: Path) -> str:
    """Kind of the file system that holds the path, or would."""
    mounted = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    for parent in (path.absolute(), *path.absolute().parents):
        if str(parent) in mounted:
            return mounted[str(parent)]
    return ""


def _again(script: Script, config: Config) -> Iterator[Finding]:
    """Of what is queued anew, by itself or by SLURM."""
    itself = re.search(r"^[^#\n]*scontrol requeue", script.text, re.MULTILINE) is not None
    asked = "requeue" in script.options
    if itself and not asked:
        why = "--no-requeue forbids it" if "no-requeue" in script.options else "a site may forbid it"
        yield Finding(True, f"--requeue: is missing; the script queues the job anew, and {why}")
    if not itself and "signal" in script.options:
        yield Finding(
            False,
            "--signal: the script is warned, but does not call scontrol requeue; see train_requeue.sbatch",
        )
    if itself and _leaves_unasked(script, config.train.deadline):
        yield Finding(
            True,
            f"train.deadline: {config.train.deadline:g} has the run leave before --signal warns the script,"
            " which takes that for a failure and does not queue the job anew; leave it out",
        )
    if not (itself or asked):
        return
    if script.options.get("open-mode") != "append":
        yield Finding(False, "--open-mode: set it to append, or a job queued anew wipes its earlier output")
    if config.checkpoint.resume not in ("auto", "none"):
        yield Finding(
            True,
            f"checkpoint.resume: a job queued anew would not go on from its own checkpoints, but from"
            f" {config.checkpoint.resume}; begin there once by hand, then set it to auto",
        )
    elif config.checkpoint.resume != "auto" and "checkpoint.resume=auto" not in script.text:
        yield Finding(
            True, "checkpoint.resume: set it to auto, or a job queued anew finds its run_dir taken and fails"
        )
    if config.checkpoint.every is None:
        yield Finding(
            False,
            "checkpoint.every: is not set; a node that fails loses all epochs since the job was warned last",
        )


def _leaves_unasked(script: Script, deadline: float | None) -> bool:
    """Whether the run leaves by itself before the script is warned."""
    if deadline is None or script.lead is None:
        return False
    left = -deadline if deadline < 0 else (script.seconds or math.inf) - deadline
    return left > script.lead


def _times(script: Script) -> Iterator[Finding]:
    signal, seconds = script.signal, script.seconds
    if signal is None:
        return
    lead = signal.lead
    if seconds is not None and seconds <= lead + LATE_SECONDS:
        yield Finding(
            True,
            f"--time: {seconds} s in all, and --signal warns up to {lead + LATE_SECONDS} s before the end;"
            " no time is left to train; give more time",
        )
    wait = script.default("SAVE_SECONDS")
    if wait is not None and wait.isdecimal() and int(wait) >= lead:
        yield Finding(
            True, f"SAVE_SECONDS={wait}: torchrun would wait longer than the {lead} s of --signal; take less"
        )
    name = f"SIG{signal.name}"
    handled = _found(r"--signals[-_]to[-_]handle[= ]?(\S*)", script.text) or HANDLED
    named = handled.replace('"', "").replace("'", "")
    if re.search(r"torchrun|torch\.distributed\.run", script.text) and name not in named.split(","):
        yield Finding(
            "$" not in named,  # else the shell knows what it says
            f"--signals-to-handle: torchrun dies of {name} if it is not named; see train_requeue.sbatch",
        )
    if not signal.to_shell:
        yield Finding(True, "--signal: write B:USR1@SECONDS; without B: the script itself is not warned")


def _devices(script: Script, config: Config) -> Iterator[Finding]:
    asked = (script.options.get(key, "0") for key in ("gpus-per-node", "gpus", "gres", "gpus-per-task"))
    gpus = any(number != "0" for number in asked)
    if config.device == "cuda" and not gpus:
        yield Finding(True, "device: is cuda, but no GPUs are asked for; set --gpus-per-node")
    if config.device == "cpu" and gpus:
        yield Finding(
            True, "device: is cpu, but GPUs are asked for; give --gpus-per-node 0; in a script, leave it out"
        )


def _found(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found.group(1) if found else None
