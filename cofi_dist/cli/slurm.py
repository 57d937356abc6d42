"""Define the command `slurm`, which writes and checks a batch script."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.arguments import Overrides
from cofi_dist.cli.progress import working
from cofi_dist.errors import ConfigError, RunError
from cofi_dist.files.atomic import refuse_existing, write_atomically
from cofi_dist.files.reading import MOST_JSON, read_failure, read_text
from cofi_dist.streams import Style, log_stderr
from cofi_dist.words import counted

if TYPE_CHECKING:
    from cofi_dist.config import Config
    from cofi_dist.slurm.container import Container
    from cofi_dist.slurm.sbatch import Script

ASK_SECONDS = 30.0
UNREACHABLE = ("configuration source", "Unable to contact slurm controller")

GpusPerNode = Annotated[
    int, typer.Option(metavar="N", help="And ranks per node; 0: one rank, on its CPU.", min=0)
]
Lead = Annotated[
    int, typer.Option(metavar="SECONDS", help="How long before the limit --requeue saves.", min=10)
]
Check = Annotated[Path | None, typer.Option(help="Write nothing; check this script.", show_default=False)]
Time = Annotated[str, typer.Option(metavar="TIME", help="Limit, as SLURM writes it: 30, 12:00:00, 2-00.")]
Option = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="For sbatch, such as --partition=gpu.", show_default=False),
]
ContainerImage = Annotated[
    str | None, typer.Option(metavar="IMAGE", help="Run in this image, by pyxis.", show_default=False)
]
Apptainer = Annotated[
    str | None, typer.Option(metavar="IMAGE", help="Run in this image, by Apptainer.", show_default=False)
]
Mounts = Annotated[
    str | None,
    typer.Option(metavar="LIST", help="SOURCE:TARGET,...; default: what is needed.", show_default=False),
]
Output = Annotated[Path | None, typer.Option(help="The script; if not set, NAME.sbatch.", show_default=False)]


def slurm(
    context: typer.Context,
    config: Annotated[Path, typer.Option(help="YAML file.", show_default=False)],
    overrides: Overrides = None,
    nodes: Annotated[int, typer.Option(metavar="N", help="Number of nodes.", min=1)] = 1,
    gpus_per_node: GpusPerNode = 1,
    time: Time = "01:00:00",
    requeue: Annotated[bool, typer.Option("--requeue", help="Before the limit, save and requeue.")] = False,
    lead: Lead = 300,
    option: Option = None,
    container_image: ContainerImage = None,
    apptainer: Apptainer = None,
    container_mounts: Mounts = None,
    output: Output = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the script.")] = False,
    check: Check = None,
) -> None:
    """Write and check the SLURM script of a run.

    Prints what would be submitted. If SLURM is installed, it checks the script too.
    """
    from cofi_dist.config import load_config
    from cofi_dist.slurm.render import Job, render_script
    from cofi_dist.slurm.sbatch import UNLIMITED, parse_script, parse_time

    resolved = load_config(config, overrides or [])
    _require_useful(context, resolved)
    target = check or output or Path(f"{config.stem}.sbatch")
    if check is not None:
        text = _read(check)
    else:
        if time.upper() not in UNLIMITED:
            parse_time(time)
        refuse_existing(target, replace=replace)
        job = Job(
            name=config.stem,
            nodes=nodes,
            gpus_per_node=gpus_per_node,
            time=time,
            lead=lead if requeue else None,
            options=option or [],
            container=_container(container_image, apptainer, container_mounts, config, resolved),
        )
        text = render_script(job, _training_arguments(config, overrides or [], resolved))
    script = parse_script(text, os.environ)
    _require_no_errors(script, resolved, target, is_written=check is None)
    answer = _ask_slurm(target, text, script)
    if check is None:
        write_atomically(target, text)
    print(_summary(script, answer, target))


def _summary(script: "Script", answer: str, target: Path) -> str:
    """Return what would be submitted, what SLURM says of it, and how to submit it."""
    options = [f"--{key}={value}" if value else f"--{key}" for key, value in script.options.items()]
    container = ["in a container: " + shlex.join(script.container)] if script.container else []
    submit = f"to submit it: sbatch {shlex.quote(str(target))}"
    return "\n".join([*(f"#SBATCH {option}" for option in options), *container, answer, submit])


def _container(
    by_pyxis: str | None, by_apptainer: str | None, mounts: str | None, file: Path, config: "Config"
) -> "Container | None":
    """Return the container of either image, with the mounts that are given or needed; None for no image."""
    from cofi_dist.slurm.container import Container, find_mounts

    image = by_apptainer if by_pyxis is None else by_pyxis
    if image is None:
        return None
    mounts = find_mounts(file, config) if mounts is None else mounts
    return Container(image, mounts, by_apptainer=by_pyxis is None)


def _training_arguments(config: Path, overrides: list[str], resolved: "Config") -> list[str]:
    """Return the arguments of `cofi-dist train`, which mean the same in any working directory."""
    from cofi_dist.config import quote_yaml

    run_dir = quote_yaml(str(Path(resolved.run_dir).absolute()))
    others = [override for override in overrides if not override.startswith("run_dir=")]
    return ["--config", str(config.absolute()), *others, f"run_dir={run_dir}"]


def _require_useful(context: typer.Context, config: "Config") -> None:
    """Raise ConfigError if an option has no effect beside the others."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}
    useless = sorted(given - {"config", "overrides", "check"})
    if "check" in given and useless:
        raise ConfigError(f"--check writes nothing; leave --{useless[0].replace('_', '-')} out")
    if "lead" in given and "requeue" not in given:
        raise ConfigError("--lead is for --requeue; give that too, or leave it out")
    if {"container_image", "apptainer"} <= given:
        raise ConfigError("--container-image is for pyxis, and --apptainer for Apptainer; give one of them")
    if "container_mounts" in given and not given & {"container_image", "apptainer"}:
        raise ConfigError("--container-mounts is for an image; give --container-image or --apptainer too")
    if "requeue" in given and config.checkpoint.start_from is not None:
        raise ConfigError("--requeue resumes the run itself; leave checkpoint.resume out")


def _require_no_errors(script: "Script", config: "Config", target: Path, *, is_written: bool) -> None:
    """Print what is wrong with a script; raise ConfigError if the job would fail for it."""
    from cofi_dist.slurm.check import check_script

    found = check_script(script, config)
    for finding in found:
        if finding.certain:
            log_stderr(finding.text, mark="error: ")
        else:
            log_stderr(finding.text, mark="warning: ", style=Style.warning)
    errors = sum(finding.certain for finding in found)
    if errors:
        so = ", so it was not written" if is_written else ""
        raise ConfigError(f"{target}: the sbatch script has {counted(errors, 'error')} (listed above){so}")


def _read(file: Path) -> str:
    try:
        return read_text(file, MOST_JSON)
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {read_failure(error)}") from None


def _ask_slurm(target: Path, text: str, script: "Script") -> str:
    """Return what SLURM itself says of the script, or why it has not been asked.

    Raises:
        RunError: SLURM would refuse the script.
    """
    from cofi_dist.slurm.container import PYXIS_IMAGE

    if shutil.which("sbatch") is None:
        return "SLURM is not installed here, so it has not checked this script"
    try:
        done = _run("sbatch", "--test-only", text=text)
        answer = " ".join(done.stderr.replace("sbatch: ", "").split())
        if any(unreachable in answer for unreachable in UNREACHABLE):
            return "SLURM's controller cannot be reached from here, so it has not checked this script"
        if done.returncode != 0:
            raise RunError(f"{target}: SLURM would refuse it: {answer.removeprefix('error: ')}")
        if any(word.startswith(PYXIS_IMAGE) for word in script.container):
            known = _run("srun", "--help").stdout
            if PYXIS_IMAGE not in known:
                raise RunError(
                    f"{target}: srun would refuse it: it has no {PYXIS_IMAGE}, as its plugin pyxis is not"
                    " installed; take --apptainer, or ask the administrator"
                )
    except subprocess.TimeoutExpired:
        return f"SLURM did not answer within {ASK_SECONDS:.0f} s"
    return f"SLURM says: {answer}"


def _run(*command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of SLURM's commands, with a text as its input."""
    with working(f"asking {command[0]}"):
        return subprocess.run(  # noqa: S603
            command, input=text, capture_output=True, text=True, check=False, timeout=ASK_SECONDS
        )
