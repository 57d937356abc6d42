"""A batch script as SLURM reads it: its options, and those that the environment of sbatch overrides."""

import re
import shlex
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cofi_dist.errors import ConfigError

MAGIC = "#SBATCH"
SHORT = {
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
UNLIMITED = ("UNLIMITED", "INFINITE", "-1", "0")
SIGNAL = re.compile(r"(?:([RB]+):)?(?:SIG)?(\w+)(?:@(\d+))?", re.IGNORECASE | re.ASCII)
# What sbatch takes from its environment, over what the script says; of the options that matter here.
ENVIRONMENT = {
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


@dataclass(frozen=True)
class Script:
    """A script, and what sbatch makes of it.

    Attributes:
        text: of the whole file.
        options: by long name; empty for those without a value.
    """

    text: str
    options: Mapping[str, str]

    @property
    def nodes(self) -> int:
        """How many it asks for, at least."""
        return _whole(self.options.get("nodes", "1").split("-")[0], "nodes")

    @property
    def seconds(self) -> int | None:
        """Its time limit; None for none of its own."""
        time = self.options.get("time", UNLIMITED[0])
        return None if time.upper() in UNLIMITED else seconds_of(time)

    @property
    def lead(self) -> int | None:
        """Seconds before the limit at which it is warned; None for never."""
        return None if self.signal is None else self.signal.lead

    @property
    def signal(self) -> "Signal | None":
        """The warning before the limit.

        Raises:
            ConfigError: --signal is none that SLURM takes.
        """
        if "signal" not in self.options:
            return None
        found = SIGNAL.fullmatch(self.options["signal"])
        if found is None:
            raise ConfigError(f"--signal: {self.options['signal']!r} is not [B:]SIGNAL[@SECONDS]")
        to, name, seconds = found.groups()
        if name.isdecimal() and int(name) in set(signal.Signals):
            name = signal.Signals(int(name)).name.removeprefix("SIG")
        return Signal(name.upper(), "B" in (to or "").upper(), 60 if seconds is None else int(seconds))

    def default(self, name: str) -> str | None:
        """What the script sets a variable to where the environment doesn't, as `NAME=${NAME:-...}`."""
        found = re.search(rf"^{name}=(?:\$\{{{name}:-)?(.*?)\}}?(?:\s+#.*)?$", self.text, re.MULTILINE)
        return found.group(1) if found else None


@dataclass(frozen=True)
class Signal:
    """What warns a job before its end.

    Attributes:
        name: USR1, say.
        to_shell: whether the script itself gets it, and the tasks don't.
        lead: seconds before the end; SLURM's own default is 60.
    """

    name: str
    to_shell: bool
    lead: int


def parse(text: str, environment: Mapping[str, str]) -> Script:
    """Read a script's options, up to its first command, as sbatch does.

    Args:
        text: of the script.
        environment: of sbatch.

    Raises:
        ConfigError: a line of options can't be read.
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
    for name, key in ENVIRONMENT.items():
        if name in environment:
            options[key] = environment[name]
            if key in ("requeue", "no-requeue"):
                options.pop({"requeue": "no-requeue", "no-requeue": "requeue"}[key], None)
    return Script(text, options)


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Long names and values of `--key=value`, `--key value`, `-kvalue` and `-k value`."""
    rest = iter([*words, "-"])
    word = next(rest)
    while word != "-":
        if not word.startswith("-"):
            raise ConfigError(f"{MAGIC} {' '.join(words)}: {word!r} is no option")
        if word.startswith("--"):
            key, given, value = word[2:].partition("=")
        else:
            key, value = SHORT.get(word[1:2], word[1:2]), word[2:].removeprefix("=")
            given = value
        word = next(rest)
        if not given and re.match(r"[^-]|-\d", word):
            value, word = word, next(rest)
        yield key, value


def seconds_of(text: str) -> int:
    """Seconds of a time as SLURM writes it: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S.

    Raises:
        ConfigError: it is none.
    """
    days, dash, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdecimal() and part.isascii() for part in [*parts, *([days] if dash else [])]):
        parts = []
    if dash and 1 <= len(parts) <= 3:
        hours, minutes, seconds = (int(part) for part in (*parts, "0", "0")[:3])
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds
    if not dash and 1 <= len(parts) <= 3:
        hours, minutes, seconds = (
            int(part) for part in {1: ("0", *parts, "0"), 2: ("0", *parts)}.get(len(parts), parts)
        )
        return (hours * 60 + minutes) * 60 + seconds
    raise ConfigError(f"time: {text!r} is no time that SLURM takes; write MINUTES, H:M:S or DAYS-H:M:S")


def _whole(text: str, name: str) -> int:
    if not (text.isdecimal() and text.isascii()):
        raise ConfigError(f"--{name}: {text!r} is not a whole number")
    return int(text)
