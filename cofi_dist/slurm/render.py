"""Write the batch script of a run, from one of the templates."""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from cofi_dist.errors import ConfigError
from cofi_dist.slurm.container import Container

TEMPLATES = files("cofi_dist.slurm") / "templates"
CPUS_PER_RANK = 4
HEAD = ["#!/bin/bash", "# Written by `cofi-dist slurm`; submit it with sbatch, from anywhere.", ""]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Describe what is asked of SLURM.

    Attributes:
        name: name of the job.
        nodes: number of nodes.
        gpus_per_node: GPUs, and ranks, per node; 0 for one rank per node, on its CPU.
        time: the time limit, as SLURM writes it.
        lead: seconds before the limit at which the run saves and the job is requeued; None for never.
        options: more options of sbatch, such as --partition=NAME.
        container: in which the ranks run; None for on the node itself.
    """

    name: str
    nodes: int
    gpus_per_node: int
    time: str
    lead: int | None
    options: Sequence[str]
    container: Container | None = None


def render_script(job: Job, arguments: Sequence[str]) -> str:
    """Return the text of a script that trains.

    Args:
        job: what is asked of SLURM.
        arguments: of `cofi-dist train`.

    Raises:
        ConfigError: an option is not one of sbatch, or cannot be written.
    """
    template = TEMPLATES / ("train.sbatch" if job.lead is None else "train_requeue.sbatch")
    values = _option_values(job)
    more = [f"#SBATCH {_quoted(option)}" for option in (*job.options, f"--chdir={Path.cwd()}")]
    lines = []
    for line in template.read_text(encoding="utf-8").splitlines():
        option = re.match(r"#SBATCH --([a-z-]+)=", line)
        if option and option[1] in values:
            value = values[option[1]]
            lines += [] if value is None else [f"#SBATCH --{option[1]}={value}"]
        elif line.startswith(
            "##SBATCH"
        ):  # the first of these examples gives way to the options, the others go
            lines += more
            more = []
        elif line.startswith("PYTHON="):
            # an image has a Python of its own
            python = sys.executable if job.container is None else "python3"
            lines.append(f"PYTHON=${{PYTHON:-{shlex.quote(python)}}}")
        elif line.startswith("CONTAINER=") and job.container is not None:
            words = job.container.words(Path.cwd(), has_gpus=job.gpus_per_node > 0)
            lines.append(f"CONTAINER=({shlex.join(words)})")
        elif line.startswith("SAVE_SECONDS=") and job.lead is not None:
            lines.append(f"SAVE_SECONDS=${{SAVE_SECONDS:-{job.lead * 4 // 5}}}")
        elif line.startswith("set -"):
            lines += [line, f'set -- {shlex.join(arguments)} "$@"']
        else:
            lines.append(line)
    # the comments before the first ruler say how to use the template
    ruler = next(number for number, line in enumerate(lines) if line.startswith("# -"))
    return "\n".join([*HEAD, *lines[ruler:], ""])


def _option_values(job: Job) -> dict[str, str | None]:
    """Return the values of the options that a job decides; None for an option to leave out."""
    return {
        "job-name": re.sub(r"[^\w.-]", "_", job.name),
        "nodes": str(job.nodes),
        "gpus-per-node": str(job.gpus_per_node) if job.gpus_per_node else None,
        "cpus-per-task": str(CPUS_PER_RANK * max(job.gpus_per_node, 1)),
        "time": job.time,
        "signal": f"B:USR1@{job.lead}",  # in train_requeue.sbatch alone
    }


def _quoted(option: str) -> str:
    """Return an option as an #SBATCH line takes it."""
    if "\n" in option or not option.startswith("-"):
        raise ConfigError(f"{option!r} is not an option of sbatch; write it as in --option=--partition=NAME")
    if "\\" in option:
        raise ConfigError(f"{option}: sbatch drops backslashes, even quoted ones; use another name")
    key, equals, value = option.partition("=")
    return f"{key}={shlex.quote(value)}" if equals else option
