"""Compare what every rank was told to do, before any other message: ranks of two jobs can meet by mistake.

Each rank then proves that it holds the job's token, if there is one. A process that can reach the ranks'
ports but does not hold the token is refused before anything it says is believed. The token is never sent.
"""

import hmac
import json
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from cofi_dist.errors import CofiError, ConfigError, TrainingError
from cofi_dist.system.variables import read_token, read_variable
from cofi_dist.version import __version__

MAX_NAMES = 4  # of differing facts, in a message
MAX_COMMAND_LENGTH = 300  # in a message
REFUSED = "refused"


@dataclass(frozen=True)
class Task:
    """Hold what a process was told to do.

    Attributes:
        command: as the user gave it.
        facts: returns what must be the same on all ranks, as JSON values, nested by section. It may raise
            CofiError.
    """

    command: str
    facts: Callable[[], Mapping[str, Any]]

    def announcement(self) -> str:
        """Return what this rank announces to the others, as JSON."""
        try:
            facts: Mapping[str, Any] = self.facts()
        except CofiError as error:  # if all ranks have it, rank 0 reports it for all
            facts = {REFUSED: str(error)}
        packages = {"cofi_dist": __version__, **{name: version(name) for name in ("torch", "numba")}}
        content = {
            "host": socket.gethostname(),
            "command": self.command,
            "versions": packages,
            "jobs": {
                "SLURM_JOB_ID": read_variable("SLURM_JOB_ID"),
                "TORCHELASTIC_RUN_ID": read_variable("TORCHELASTIC_RUN_ID"),
            },
            "has_token": bool(read_token()),
            "facts": facts,
            "once": secrets.token_hex(16),  # so that a proof is worth nothing at another meeting
        }
        return json.dumps(content)


def require_same_task(announcements: Sequence[str]) -> None:
    """Check that all ranks were told to do the same.

    Args:
        announcements: of every rank, in rank order.

    Raises:
        ConfigError: they were not; with the same message on every rank.
        TrainingError: an announcement is not one that a rank of this version makes.
    """
    first = _Announcement.parse(0, announcements[0])
    for rank, text in enumerate(announcements[1:], start=1):
        other = _Announcement.parse(rank, text)
        if difference := _difference(first, other):
            raise ConfigError(difference, shared=True)


def token_proof(announcements: Sequence[str], rank: int) -> str:
    """Prove that this process holds the token, for one rank of one meeting."""
    message = json.dumps([rank, *announcements]).encode()
    return hmac.new(read_token().encode(), message, "sha256").hexdigest()


def require_token_proofs(proofs: Sequence[Any], announcements: Sequence[str], own_rank: int) -> None:
    """Check that every rank holds the token that this one holds.

    Raises:
        ConfigError: a rank's proof is not the expected one.
    """
    for rank, proof in enumerate(proofs):
        if not hmac.compare_digest(str(proof).encode(), token_proof(announcements, rank).encode()):
            own = _Announcement.parse(own_rank, announcements[own_rank])
            other = _Announcement.parse(rank, announcements[rank])
            raise ConfigError(
                f"{other} does not hold the COFI_DIST_TOKEN of {own}; set the same on every node", shared=True
            )


@dataclass(frozen=True)
class _Announcement:
    """Hold what one rank has announced."""

    rank: int
    content: Mapping[str, Any]

    @classmethod
    def parse(cls, rank: int, text: str) -> "_Announcement":
        try:
            content = json.loads(text)
            texts = [content["host"], content["command"]]
            texts += [*content["versions"].values(), *content["jobs"].values()]
            is_ours = all(isinstance(each, str) for each in texts) and isinstance(content["facts"], dict)
            is_ours = is_ours and isinstance(content["has_token"], bool)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            is_ours = False
        if not is_ours:
            raise TrainingError(
                f"rank {rank} says nothing that a rank of cofi_dist {__version__} would; install the same"
                " on every node"
            )
        return cls(rank, content)

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.content['host']}"

    @property
    def with_command(self) -> str:
        command = self.content["command"]
        if len(command) > MAX_COMMAND_LENGTH:
            command = f"{command[:MAX_COMMAND_LENGTH]}..."
        return f"{self} runs `{command}`"


def _difference(first: _Announcement, other: _Announcement) -> str:
    """Describe the first difference between two ranks, and what to do about it; empty if there is none."""
    first_versions, other_versions = first.content["versions"], other.content["versions"]
    for name in {**first_versions, **other_versions}:
        if first_versions.get(name) != other_versions.get(name):
            return (
                f"{other} has {name} {other_versions.get(name)}, {first} has {first_versions.get(name)};"
                " install the same on every node"
            )
    for name in first.content["jobs"]:
        ids = [rank.content["jobs"].get(name) for rank in (other, first)]
        if all(ids) and ids[0] != ids[1]:  # a shell on another node may not have it
            return (
                f"{other} has {name}={ids[0]}, {first} has {name}={ids[1]}: two jobs have met; give each a"
                " port or a rendezvous id of its own"
            )
    if first.content["has_token"] != other.content["has_token"]:
        has, lacks = (first, other) if first.content["has_token"] else (other, first)
        return f"{lacks} has no COFI_DIST_TOKEN, {has} has one; set the same on every node, or none"
    names = _differing_facts(first.content["facts"], other.content["facts"])
    if not names:
        return ""
    both = f"{other.with_command}, {first.with_command}"
    for rank in (other, first):
        if REFUSED in rank.content["facts"]:
            return f"{both}, and what {rank} was told is refused there: {rank.content['facts'][REFUSED]}"
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return (
        f"{both}: {', '.join(names[:MAX_NAMES])}{more} differ; give all ranks the same command and config,"
        " and each job a port or a rendezvous id of its own"
    )


def _differing_facts(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """List the dotted names of facts that differ, or that only one of the two has."""
    a, b = dict(_flatten(first)), dict(_flatten(other))
    return [name for name in {**a, **b} if (name in a, a.get(name)) != (name in b, b.get(name))]


def _flatten(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
