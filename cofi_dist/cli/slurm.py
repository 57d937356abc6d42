"""The command about SLURM."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.arguments import Overrides
from cofi_dist.config import Config, load_config, quote_yaml
from cofi_dist.errors import ConfigError, RunError
from cofi_dist.files.atomic import refuse_existing, write_atomically
from cofi_dist.files.reading import MOST_JSON, read_failure, read_text
from cofi_dist.streams import log_stderr

if TYPE_CHECKING:
    from cofi_dist.slurm.sbatch import Script

ASK_SECONDS = 30.0
UNREACHABLE = ("configuration source", "Unable to contact slurm controller")

Time = Annotated[str, typer.Option(metavar="TIME", help="Limit, as SLURM writes it: 30, 12:00:00, 2-00.")]
Option = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="For sbatch, such as --partition=gpu.", show_default=False),
]
Output = Annotated[Path | None, typer.Option(help="The script; NAME.sbatch unless set.", show_default=False)]


def slurm(
    context: typer.Context,
    config: Annotated[Path, typer.Option(help="YAML file.", show_default=False)],
    overrides: Overrides = None,
    nodes: Annotated[int, typer.Option(metavar="N", help="How many nodes.", min=1)] = 1,
    gpus_per_node: Annotated[
        int, typer.Option(metavar="N", help="Also the ranks a node; 0: one, on its CPU.", min=0)
    ] = 1,
    time: Time = "01:00:00",
    requeue: Annotated[
        bool, typer.Option("--requeue", help="Before the limit, save and queue anew.")
    ] = False,
    lead: Annotated[
        int, typer.Option(metavar="SECONDS", help="How long before the limit --requeue saves.", min=10)
    ] = 300,
    option: Option = None,
    output: Output = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the script.")] = False,
    check: Annotated[
        Path | None, typer.Option(help="Write nothing; check this script.", show_default=False)
    ] = None,
) -> None:
    """Write and check the SLURM script of a run.

    Shows what would be submitted; SLURM itself looks at it where it is installed.
    """
    from cofi_dist.slurm.render import Job, script_of
    from cofi_dist.slurm.sbatch import UNLIMITED, parse, seconds_of

    resolved = load_config(config, overrides or [])
    _require_useful(context, resolved)
    target = check or output or Path(f"{config.stem}.sbatch")
    if check is not None:
        text = _read(check)
    else:
        if time.upper() not in UNLIMITED:
            seconds_of(time)
        refuse_existing(target, replace=replace)
        job = Job(config.stem, nodes, gpus_per_node, time, lead if requeue else None, option or [])
        run_dir = f"run_dir={quote_yaml(str(Path(resolved.run_dir).absolute()))}"
        others = [each for each in overrides or [] if not each.startswith("run_dir=")]
        text = script_of(job, ["--config", str(config.absolute()), *others, run_dir])
    script = parse(text, os.environ)
    _require_right(script, resolved, target)
    says = _ask_slurm(target, text)
    if check is None:
        write_atomically(target, text)
    print("\n".join(f"#SBATCH --{key}{'=' * bool(value)}{value}" for key, value in script.options.items()))
    print(f"{says}\nto submit it: sbatch {shlex.quote(str(target))}")


def _require_useful(context: typer.Context, config: Config) -> None:
    """Raise ConfigError where an option has no effect beside the others."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}
    useless = sorted(given - {"config", "overrides", "check"})
    if "check" in given and useless:
        raise ConfigError(f"--check writes nothing; leave --{useless[0].replace('_', '-')} out")
    if "lead" in given and "requeue" not in given:
        raise ConfigError("--lead is for --requeue; give that too, or leave it out")
    if "requeue" in given and config.checkpoint.start_from is not None:
        raise ConfigError("--requeue goes on with the run itself; leave checkpoint.resume out")


def _require_right(script: "Script", config: Config, target: Path) -> None:
    """Say what is wrong; raise ConfigError if the job would fail for it."""
    from cofi_dist.slurm.check import findings

    found = findings(script, config)
    for finding in found:
        log_stderr(f"{'wrong' if finding.certain else 'check'}: {finding.text}")
    wrong = sum(finding.certain for finding in found)
    if wrong:
        raise ConfigError(f"{target}: is not to be submitted: {wrong} wrong, as said above")


def _read(file: Path) -> str:
    try:
        return read_text(file, MOST_JSON)
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {read_failure(error)}") from None


def _ask_slurm(target: Path, script: str) -> str:
    """What SLURM itself says to the script, where there is one.

    Raises:
        RunError: it would refuse it.
    """
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        return "SLURM is not here, so it has not looked at this"
    try:
        done = subprocess.run(  # noqa: S603
            [sbatch, "--test-only"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
            timeout=ASK_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"SLURM did not answer within {ASK_SECONDS:.0f} s"
    said = " ".join(done.stderr.replace("sbatch: ", "").split())
    if done.returncode == 0:
        return f"SLURM says: {said}"
    if any(text in said for text in UNREACHABLE):
        return "SLURM's controller cannot be reached from here, so it has not looked at this"
    raise RunError(f"{target}: SLURM would refuse it: {said.removeprefix('error: ')}")
