"""Read a batch script as sbatch does: its options, and those that sbatch takes from its environment."""

import re
import shlex
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cofi_dist.errors import ConfigError

MAGIC = "#SBATCH"
SHORT_OPTIONS = {
    "A": "account",
    "D": "chdir",
    "G": "gpus",
    "J": "job-name",
    "N": "nodes",
    "c": "cpus-per-task",
    "n": "ntasks",
    "o": "output",
    "p": "partition",
    "t": "time",
}
UNLIMITED = ("UNLIMITED", "INFINITE", "-1", "0")  # time limits that are none
SIGNAL = re.compile(r"(?:([RB]+):)?(?:SIG)?(\w+)(?:@(\d+))?", re.IGNORECASE | re.ASCII)
# an array of words, each of them plain or quoted
CONTAINER = re.compile(
    r"""^CONTAINER=\(((?:[^'"()\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")*)\)""", re.MULTILINE | re.DOTALL
)
# The variables whose values sbatch prefers to those in the script, for the options that matter here.
OPTION_VARIABLES = {
    "SBATCH_TIMELIMIT": "time",
    "SBATCH_SIGNAL": "signal",
    "SBATCH_REQUEUE": "requeue",
    "SBATCH_NO_REQUEUE": "no-requeue",
    "SBATCH_OPEN_MODE": "open-mode",
    "SBATCH_GPUS": "gpus",
    "SBATCH_GPUS_PER_NODE": "gpus-per-node",
    "SBATCH_GPUS_PER_TASK": "gpus-per-task",
    "SBATCH_GRES": "gres",
}
OPPOSITES = {"requeue": "no-requeue", "no-requeue": "requeue"}


@dataclass(frozen=True)
class Script:
    """Hold a batch script and the options with which sbatch would submit it.

    Attributes:
        text: the whole file.
        options: values by long name; an option without a value has an empty one.
    """

    text: str
    options: Mapping[str, str]

    @property
    def nodes(self) -> int:
        """Return the least number of nodes that it asks for."""
        return _whole_number(self.options.get("nodes", "1").split("-")[0], "nodes")

    @property
    def seconds(self) -> int | None:
        """Return its time limit in seconds; None if it sets none."""
        time = self.options.get("time", UNLIMITED[0])
        return None if time.upper() in UNLIMITED else parse_time(time)

    @property
    def lead(self) -> int | None:
        """Return how many seconds before its time limit it is warned; None if it is not."""
        return None if self.signal is None else self.signal.lead

    @property
    def signal(self) -> "Signal | None":
        """Return the warning before its time limit.

        Raises:
            ConfigError: SLURM does not take this --signal.
        """
        if "signal" not in self.options:
            return None
        found = SIGNAL.fullmatch(self.options["signal"])
        if found is None:
            raise ConfigError(f"--signal: {self.options['signal']!r} is not [B:]SIGNAL[@SECONDS]")
        flags, name, seconds = found.groups()
        if name.isdecimal() and int(name) in set(signal.Signals):
            name = signal.Signals(int(name)).name.removeprefix("SIG")
        return Signal(name.upper(), "B" in (flags or "").upper(), 60 if seconds is None else int(seconds))

    @property
    def container(self) -> list[str]:
        """Return what stands between srun and the program, to run it in an image; empty for nothing.

        Raises:
            ConfigError: it cannot be read.
        """
        if "\nCONTAINER=(" not in self.text:
            return []
        found = CONTAINER.search(self.text)
        if found is None:
            raise ConfigError("CONTAINER: its words cannot be read; write CONTAINER=(...) with quoted words")
        return shlex.split(found.group(1))

    def default_of(self, variable: str) -> str | None:
        """Return what the script sets a variable to by `NAME=VALUE` or `NAME=${NAME:-VALUE}`, if it does."""
        pattern = rf"^{variable}=(?:\$\{{{variable}:-)?(.*?)\}}?(?:\s+#.*)?$"
        found = re.search(pattern, self.text, re.MULTILINE)
        return found.group(1) if found else None


@dataclass(frozen=True)
class Signal:
    """Hold the signal that warns a job before its time limit.

    Attributes:
        name: such as USR1.
        to_shell: whether it is sent to the script itself, and not to the tasks.
        lead: seconds before the limit; SLURM's own default is 60.
    """

    name: str
    to_shell: bool
    lead: int


def parse_script(text: str, environment: Mapping[str, str]) -> Script:
    """Read the options of a script, up to its first command, as sbatch does.

    Args:
        text: the script.
        environment: the variables that sbatch would have.

    Raises:
        ConfigError: a line of options cannot be read.
    """
    options: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            break
        if line.startswith(MAGIC):
            try:
                words = shlex.split(line.removeprefix(MAGIC), comments=True)
            except ValueError as error:
                raise ConfigError(f"line {number}: {line}: {error}") from None
            options.update(_options(words))
    for variable, key in OPTION_VARIABLES.items():
        if variable in environment:
            options[key] = environment[variable]
            if key in OPPOSITES:
                options.pop(OPPOSITES[key], None)
    return Script(text, options)


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield long names and values of `--key=value`, `--key value`, `-kvalue` and `-k value`."""
    rest = iter([*words, "-"])  # the dash marks the end
    word = next(rest)
    while word != "-":
        if not word.startswith("-"):
            raise ConfigError(f"{MAGIC} {' '.join(words)}: {word!r} is not an option")
        if word.startswith("--"):
            key, has_value, value = word[2:].partition("=")
        else:
            key, value = SHORT_OPTIONS.get(word[1:2], word[1:2]), word[2:].removeprefix("=")
            has_value = value
        word = next(rest)
        # the next word is the value, unless it is an option; -1 is a number
        if not has_value and re.match(r"[^-]|-\d", word):
            value, word = word, next(rest)
        yield key, value


def parse_time(text: str) -> int:
    """Return the seconds of a time as SLURM writes it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S.

    Raises:
        ConfigError: it is not a time.
    """
    days, dash, rest = text.rpartition("-")
    parts = rest.split(":")
    numbers = [*parts, days] if dash else parts
    if len(parts) > 3 or not all(number.isdecimal() and number.isascii() for number in numbers):
        raise ConfigError(
            f"time: {text!r} is not a time that SLURM takes; write MINUTES, H:M:S or DAYS-H:M:S"
        )
    if dash:
        hours, minutes, seconds = (int(part) for part in (*parts, "0", "0")[:3])
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds
    if len(parts) == 1:
        parts = [*parts, "0"]
    hours, minutes, seconds = (int(part) for part in ("0", *parts)[-3:])
    return (hours * 60 + minutes) * 60 + seconds


def _whole_number(text: str, option: str) -> int:
    if not (text.isdecimal() and text.isascii()):
        raise ConfigError(f"--{option}: {text!r} is not a whole number")
    return int(text)
