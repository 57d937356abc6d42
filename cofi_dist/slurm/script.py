"""A batch script as SLURM reads it: its options, and those that the environment of sbatch overrides."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cofi_dist.errors import ConfigError

OPTION = re.compile(r"#SBATCH\s+--?(?P<key>[A-Za-z-]+)(?:[=\s](?P<value>[^\s#]+))?")
SHORT = {"N": "nodes", "n": "ntasks", "t": "time", "J": "job-name", "o": "output", "c": "cpus-per-task"}
# What sbatch takes from its environment, over what the script says; of the options that matter here.
ENVIRONMENT = {
    "SBATCH_TIMELIMIT": "time",
    "SBATCH_SIGNAL": "signal",
    "SBATCH_REQUEUE": "requeue",
    "SBATCH_NO_REQUEUE": "no-requeue",
    "SBATCH_OPEN_MODE": "open-mode",
    "SBATCH_GPUS_PER_NODE": "gpus-per-node",
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
        return seconds_of(self.options["time"]) if "time" in self.options else None

    @property
    def lead(self) -> int | None:
        """Seconds before the limit at which it is warned; None for never."""
        if "signal" not in self.options:
            return None
        _, at, seconds = self.options["signal"].partition("@")
        return _whole(seconds, "signal") if at else 60  # SLURM's own default

    def default(self, name: str) -> str | None:
        """What the script sets a variable to where the environment doesn't, as `NAME=${NAME:-...}`."""
        found = re.search(rf"^{name}=(?:\$\{{{name}:-)?(.*?)\}}?(?:\s+#.*)?$", self.text, re.MULTILINE)
        return found.group(1) if found else None


def parse(text: str, environment: Mapping[str, str]) -> Script:
    """Read a script's options, up to its first command, as sbatch does.

    Args:
        text: of the script.
        environment: of sbatch.
    """
    options: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        found = OPTION.match(line)
        if found:
            key = found["key"]
            options[SHORT.get(key, key)] = found["value"] or ""
    for name, key in ENVIRONMENT.items():
        if name in environment:
            options[key] = environment[name]
            if key in ("requeue", "no-requeue"):
                options.pop({"requeue": "no-requeue", "no-requeue": "requeue"}[key], None)
    return Script(text, options)


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
