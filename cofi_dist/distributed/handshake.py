"""What every rank was told to do, compared before anything else: ranks of two jobs can meet by mistake.

Then each shows that it holds the job's token, if there is one: who can reach the ranks' ports, and does not
hold it, is refused before anything that it says is believed. The token itself is never sent.
"""

import hmac
import json
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from cofi_dist import __version__
from cofi_dist.errors import CofiError, ConfigError, TrainingError
from cofi_dist.system.variables import read, token

MOST_NAMES = 4  # of what differs, in a message
MOST_WORDS = 300  # characters of a command, in a message
REFUSED = "refused"


@dataclass(frozen=True)
class Task:
    """What a process was told to do.

    Attributes:
        command: as it was given.
        facts: what must be the same on all ranks, as JSON has it, sections by key; may raise CofiError.
    """

    command: str
    facts: Callable[[], Mapping[str, Any]]

    def told(self) -> str:
        """What this rank tells the others, as JSON."""
        try:
            facts: Mapping[str, Any] = self.facts()
        except CofiError as error:  # all ranks hear it from rank 0, unless it is this one's alone
            facts = {REFUSED: str(error)}
        packages = {"cofi_dist": __version__, **{name: version(name) for name in ("torch", "numba")}}
        said = {
            "host": socket.gethostname(),
            "command": self.command,
            "versions": packages,
            "jobs": {
                "SLURM_JOB_ID": read("SLURM_JOB_ID"),
                "TORCHELASTIC_RUN_ID": read("TORCHELASTIC_RUN_ID"),
            },
            "has_token": bool(token()),
            "facts": facts,
            "once": secrets.token_hex(16),  # so that no proof is good for another meeting
        }
        return json.dumps(said)


def require_same(told: Sequence[str]) -> None:
    """Raise ConfigError, the same on every rank, unless all were told the same.

    Args:
        told: by every rank, in rank order.

    Raises:
        TrainingError: it is nothing that a rank of this version says.
    """
    first = _Rank.of(0, told[0])
    for number, words in enumerate(told[1:], start=1):
        other = _Rank.of(number, words)
        if why := _difference(first, other):
            raise ConfigError(why, shared=True)


def proof(told: Sequence[str], rank: int) -> str:
    """That this process holds the token, as this rank of this meeting."""
    message = json.dumps([rank, *told]).encode()
    return hmac.new(token().encode(), message, "sha256").hexdigest()


def require_proofs(proofs: Sequence[Any], told: Sequence[str], rank: int) -> None:
    """Raise ConfigError unless every rank holds the token that this one holds."""
    for number, shown in enumerate(proofs):
        if not hmac.compare_digest(str(shown).encode(), proof(told, number).encode()):
            own, other = _Rank.of(rank, told[rank]), _Rank.of(number, told[number])
            raise ConfigError(
                f"{other} does not hold the COFI_DIST_TOKEN of {own}; set the same on every node", shared=True
            )


@dataclass(frozen=True)
class _Rank:
    """What one of them has said."""

    number: int
    said: Mapping[str, Any]

    @classmethod
    def of(cls, number: int, words: str) -> "_Rank":
        try:
            said = json.loads(words)
            texts = (said["host"], said["command"], *said["versions"].values(), *said["jobs"].values())
            is_ours = all(isinstance(text, str) for text in texts) and isinstance(said["facts"], dict)
            is_ours = is_ours and isinstance(said["has_token"], bool)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            is_ours = False
        if not is_ours:
            raise TrainingError(
                f"rank {number} says nothing that a rank of cofi_dist {__version__} would; install the same"
                " on every node"
            )
        return cls(number, said)

    def __str__(self) -> str:
        return f"rank {self.number} on {self.said['host']}"

    @property
    def runs(self) -> str:
        command = self.said["command"]
        shown = command if len(command) <= MOST_WORDS else f"{command[:MOST_WORDS]}..."
        return f"{self} runs `{shown}`"


def _difference(first: _Rank, other: _Rank) -> str:
    """What was told to the other that was not told to the first, and what to do; empty for nothing."""
    mine, theirs = first.said["versions"], other.said["versions"]
    for name in {**mine, **theirs}:
        if mine.get(name) != theirs.get(name):
            return (
                f"{other} has {name} {theirs.get(name)}, {first} has {mine.get(name)}; install the same on"
                " every node"
            )
    for name in first.said["jobs"]:
        ids = [rank.said["jobs"].get(name) for rank in (other, first)]
        if all(ids) and ids[0] != ids[1]:  # a shell of another node may not have it
            return (
                f"{other} has {name}={ids[0]}, {first} has {name}={ids[1]}: two jobs have met; give each a"
                " port or a rendezvous id of its own"
            )
    if first.said["has_token"] != other.said["has_token"]:
        has, lacks = (first, other) if first.said["has_token"] else (other, first)
        return f"{lacks} has no COFI_DIST_TOKEN, {has} has one; set the same on every node, or none"
    names = _names_of_differences(first.said["facts"], other.said["facts"])
    if not names:
        return ""
    both = f"{other.runs}, {first.runs}"
    for rank in (other, first):
        if REFUSED in rank.said["facts"]:
            return f"{both}, and what {rank} was told is refused there: {rank.said['facts'][REFUSED]}"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return (
        f"{both}: {', '.join(names[:MOST_NAMES])}{more} differ; give all ranks the same command and config,"
        " and each job a port or a rendezvous id of its own"
    )


def _names_of_differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    one, two = dict(_flat(mine)), dict(_flat(theirs))
    return [name for name in {**one, **two} if (name in one, one.get(name)) != (name in two, two.get(name))]


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
