"""How much memory a process may still take: of its machine, its containers or job, and by its own limits.

Linux says the last two in control groups, of version 1 or 2, one inside the other, and in `ulimit`. What is
not said is no limit.
"""

import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import psutil

from cofi_dist.errors import ConfigError

ROOT = Path("/")
# Of each version: its limit, what is used of it, and what of that the kernel gives back when it is needed.
FILES = {
    "cgroup2": ("memory.max", "memory.current", ("inactive_file", "active_file", "slab_reclaimable")),
    "cgroup": (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
    ),
}


def free_memory(local_world_size: int = 1, root: Path = ROOT) -> int:
    """Bytes that this process may still take, where others of its node take as many.

    Args:
        local_world_size: how many of them there are, this one with them.
        root: of the file system that is asked.
    """
    shared = [psutil.virtual_memory().available, *(_left(*group) for group in _groups(root))]
    return max(0, int(min(min(shared) // local_world_size, *_own(root))))


def require_memory(need: int, free: int, what: str, advice: str) -> None:
    """Refuse what won't fit, before anything of it is taken.

    Raises:
        ConfigError: names what needs how much, and what to do.
    """
    if need > free:
        raise ConfigError(f"{what} needs about {_gigabytes(need)}; {_gigabytes(free)} are free; {advice}")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether numpy, torch, Python or the loader of libraries could not get what they asked for."""
    if error is None:
        return False
    # torch's error on CUDA has a name, that on a CPU and the loader's have their text alone
    names = {kind.__name__ for kind in type(error).__mro__}
    said = ("can't allocate memory", "cannot allocate memory", "failed to map segment")
    is_one = names & {"MemoryError", "OutOfMemoryError"} or any(text in str(error).lower() for text in said)
    return bool(is_one) or is_out_of_memory(error.__cause__ or error.__context__)


def _gigabytes(number: int) -> str:
    # of a number that may be beyond any float
    return f"{number // 10**9:,} GB" if number >= 10**12 else f"{number / 1e9:.3g} GB"


def _groups(root: Path) -> Iterator[tuple[Path, str]]:
    """Every control group that this process is in and that may limit its memory; and its version."""
    with suppress(OSError, ValueError):
        mine = {}
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "memory" in controllers.split(","):
                mine["cgroup" if controllers else "cgroup2"] = PurePosixPath(path)
        for line in (root / "proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            (top, mount), (kind, _, options) = before.split()[3:5], after.split()[:3]
            if kind not in mine or (kind == "cgroup" and "memory" not in options.split(",")):
                continue
            group = mine[kind]  # from the hierarchy's root, of which a container may see a part alone
            inside = group.relative_to(top) if group.is_relative_to(top) else PurePosixPath()
            for folder in (inside, *inside.parents):
                yield root / mount.lstrip("/") / folder.as_posix().lstrip("/"), kind


def _left(group: Path, kind: str) -> float:
    """What a control group may still take; infinite where it has no limit."""
    limit, used, spare = FILES[kind]
    try:
        most = int((group / limit).read_text())
        left = most - int((group / used).read_text())
        about = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return min(most, left + sum(int(about.get(name, 0)) for name in spare))
    except (OSError, ValueError):  # there is none, or it is `max`
        return float("inf")


def _own(root: Path) -> Iterator[float]:
    """What the limits of this process alone leave: of its address space, and of its data."""
    page, sizes = resource.getpagesize(), ["0"] * 7
    with suppress(OSError):
        sizes = (root / "proc/self/statm").read_text().split()
    for limit, place in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
        most = resource.getrlimit(limit)[0]
        yield float("inf") if most == resource.RLIM_INFINITY else most - int(sizes[place]) * page
