"""Determine how much memory this process may still take.

The limits are those of the machine, of the containers or the job, and of the process itself. On Linux, nested
control groups (version 1 or 2) hold the limits of containers and jobs, and `ulimit` those of a process.
"""

import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from cofi_dist.errors import ConfigError

ROOT = Path("/")
# For each version: the files with the limit and the usage, and the kinds of usage that the kernel can free.
FILES = {
    "cgroup2": ("memory.max", "memory.current", ("inactive_file", "active_file", "slab_reclaimable")),
    "cgroup": (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
    ),
}


def free_memory(local_world_size: int = 1, root: Path = ROOT) -> int:
    """Return the bytes that this process may still take, if the other ranks of its node take as many.

    Args:
        local_world_size: number of ranks on this node, including this one.
        root: root of the file system that holds the control groups.
    """
    import psutil  # slow to import, and most commands never ask

    shared = [psutil.virtual_memory().available, *(_group_headroom(*group) for group in _groups(root))]
    return max(0, int(min(min(shared) // local_world_size, *_process_headroom(root))))


def require_memory(need: int, free: int, what: str, advice: str) -> None:
    """Raise if something does not fit into memory, before any of it is allocated.

    Raises:
        ConfigError: names what needs how much, and what to do.
    """
    if need > free:
        raise ConfigError(f"{what} needs about {_gigabytes(need)}; {_gigabytes(free)} are free; {advice}")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error says that numpy, torch, Python or the loader of libraries lacked memory."""
    if error is None:
        return False
    # The error of torch on CUDA has its own class; those on a CPU and of the loader only have their text.
    names = {kind.__name__ for kind in type(error).__mro__}
    said = ("can't allocate memory", "cannot allocate memory", "failed to map segment")
    is_one = names & {"MemoryError", "OutOfMemoryError"} or any(text in str(error).lower() for text in said)
    return bool(is_one) or is_out_of_memory(error.__cause__ or error.__context__)


def _gigabytes(number: int) -> str:
    # In integers, because the number may be too large for a float.
    return f"{number // 10**9:,} GB" if number >= 10**12 else f"{number / 1e9:.3g} GB"


def _groups(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each control group that may limit the memory of this process, and its version."""
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
            group = mine[
                kind
            ]  # relative to the root of the hierarchy, of which a container may see only a part
            inside = group.relative_to(top) if group.is_relative_to(top) else PurePosixPath()
            for folder in (inside, *inside.parents):
                yield root / mount.lstrip("/") / folder.as_posix().lstrip("/"), kind


def _group_headroom(group: Path, kind: str) -> float:
    """Return the bytes that a control group may still take; infinite if it has no limit."""
    limit, used, spare = FILES[kind]
    try:
        most = int((group / limit).read_text())
        left = most - int((group / used).read_text())
        about = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return min(most, left + sum(int(about.get(name, 0)) for name in spare))
    except (OSError, ValueError):  # there is no limit, or it is `max`
        return float("inf")


def _process_headroom(root: Path) -> Iterator[float]:
    """Yield the bytes that the limits of this process leave: of its address space, and of its data."""
    page, sizes = resource.getpagesize(), ["0"] * 7
    with suppress(OSError):
        sizes = (root / "proc/self/statm").read_text().split()
    for limit, place in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
        most = resource.getrlimit(limit)[0]
        yield float("inf") if most == resource.RLIM_INFINITY else most - int(sizes[place]) * page
