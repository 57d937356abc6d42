"""Writes the batch script of a run: one of ours, filled in."""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from cofi_dist.errors import ConfigError

CPUS_A_RANK = 4


@dataclass(frozen=True)
class Job:
    """What is asked of SLURM.

    Attributes:
        name: of the job.
        nodes: how many.
        gpus_per_node: also the ranks a node; 0 for one rank on its CPU.
        time: the limit, as SLURM writes it.
        lead: seconds before the limit at which to save and queue anew; None for never.
        options: more for sbatch, such as --partition=NAME.
    """

    name: str
    nodes: int
    gpus_per_node: int
    time: str
    lead: int | None
    options: Sequence[str]


def script_of(job: Job, arguments: Sequence[str]) -> str:
    """The text of the script.

    Args:
        job: what is asked of SLURM.
        arguments: of `cofi-dist train`.
    """
    name = "train.sbatch" if job.lead is None else "train_requeue.sbatch"
    template = (files("cofi_dist.slurm") / name).read_text(encoding="utf-8")
    values = {
        "job-name": re.sub(r"[^\w.-]", "_", job.name),
        "nodes": str(job.nodes),
        "gpus-per-node": str(job.gpus_per_node) if job.gpus_per_node else None,
        "cpus-per-task": str(CPUS_A_RANK * max(job.gpus_per_node, 1)),
        "time": job.time,
        "signal": f"B:USR1@{job.lead}",
    }
    more = [*job.options, f"--chdir={Path.cwd()}"]
    lines = []
    for line in template.splitlines():
        found = re.match(r"#SBATCH --([a-z-]+)=", line)
        if found and found[1] in values:
            value = values[found[1]]
            if value is not None:
                lines.append(f"#SBATCH --{found[1]}={value}")
        elif line.startswith("##SBATCH"):
            lines += [f"#SBATCH {_quoted(option)}" for option in more]
            more = []
        elif line.startswith("PYTHON="):
            lines.append(f"PYTHON=${{PYTHON:-{shlex.quote(sys.executable)}}}")
        elif line.startswith("SAVE_SECONDS=") and job.lead is not None:
            lines.append(f"SAVE_SECONDS=${{SAVE_SECONDS:-{job.lead * 4 // 5}}}")
        elif line.startswith("set -"):
            lines += [line, f'set -- {shlex.join(arguments)} "$@"']
        else:
            lines.append(line)
    first = next(k for k, line in enumerate(lines) if line.startswith("# -"))
    head = ["#!/bin/bash", "# Written by `cofi-dist slurm`; submit it with sbatch, from anywhere.", ""]
    return "\n".join([*head, *lines[first:], ""])


def _quoted(option: str) -> str:
    """An option as a line of the script takes it."""
    if "\n" in option or not option.startswith("-"):
        raise ConfigError(f"{option!r} is no option of sbatch; write --option=--partition=NAME, say")
    if "\\" in option:
        raise ConfigError(f"{option}: sbatch drops backslashes, even quoted ones; use another name")
    key, given, value = option.partition("=")
    return f"{key}={shlex.quote(value)}" if given else option
