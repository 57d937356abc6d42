"""Start the ranks of a batch script in a container image, by pyxis or Apptainer.

pyxis is a plugin of SLURM, which adds options to srun. Apptainer is a program that srun starts, and that
starts torchrun. In both, only those folders of the host are seen that are mounted.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cofi_dist.config import Config
from cofi_dist.errors import ConfigError

PYXIS_IMAGE, PYXIS_MOUNTS = "--container-image", "--container-mounts"


@dataclass(frozen=True)
class Container:
    """Describe a container.

    Attributes:
        image: its image, as pyxis or Apptainer names one.
        mounts: what it sees of the host: SOURCE:TARGET[:FLAGS], separated by commas.
        by_apptainer: whether Apptainer runs it, and not pyxis.
    """

    image: str
    mounts: str
    by_apptainer: bool

    def words(self, folder: Path, *, has_gpus: bool) -> list[str]:
        """Return what stands between srun and the program: options of srun, or a command.

        Args:
            folder: the working directory there.
            has_gpus: whether the job has GPUs.

        Raises:
            ConfigError: the image or a mount makes no sense.
        """
        if not self.image.strip() or self.image.startswith("-"):
            raise ConfigError(f"{self.image!r} is no image; name one")
        if self.by_apptainer:
            gpus = ["--nv"] if has_gpus else []
            words = ["apptainer", "exec", *gpus, "--bind", self.mounts, "--pwd", str(folder), self.image]
        else:
            words = [
                f"{PYXIS_IMAGE}={self.image}",
                f"{PYXIS_MOUNTS}={self.mounts}",
                f"--container-workdir={folder}",
            ]
        read_targets(words)
        return words


def find_mounts(config_file: Path, config: Config) -> str:
    """Return mounts of the folders that a run needs, each at its own place.

    These are the working directory, and the folders of the config file and of all paths in it. Of a path that
    is not there yet, it is the nearest folder that is.

    Raises:
        ConfigError: a folder cannot be mounted.
    """
    paths = [Path.cwd(), config_file.parent, *named_paths(config)]
    # where a link leads must be there too
    places = (place for path in paths for place in (Path(os.path.abspath(path)), path.resolve()))
    folders = {_nearest_folder(place) for place in places}
    outermost = sorted(folder for folder in folders if folders.isdisjoint(folder.parents))
    for folder in outermost:
        if folder == Path("/") or set(":,") & set(str(folder)):
            raise ConfigError(f"{PYXIS_MOUNTS}: {folder} would be needed, and cannot be mounted; name others")
    return ",".join(f"{folder}:{folder}" for folder in outermost)


def named_paths(config: Config) -> list[Path]:
    """Return what a config names: where its data is, where the run starts from, and the folder of its run."""
    found: list[str] = []

    def note(path: str) -> str:
        found.append(path)
        return path

    data = config.data if config.data.name else config.data.model_copy(update={"root": None})
    data.with_paths(note)
    starts = [path for path in (config.train.start, config.checkpoint.start_from) if path is not None]
    # the run's folder, and not the run: it need not be there yet
    return [Path(path) for path in (*found, *starts, Path(config.run_dir).parent)]


def _nearest_folder(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.is_dir())


def read_targets(words: Sequence[str]) -> list[Path]:
    """Return the folders that a container has of the host's, by their places in it.

    Args:
        words: as of `Container.words`, or as a user wrote them.

    Raises:
        ConfigError: a mount is not of absolute paths.
    """
    mounts = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        key, has_value, value = word.partition("=")
        if key in (PYXIS_MOUNTS, "--bind", "-B"):
            mounts += (value if has_value else following).split(",")
    targets = []
    for mount in mounts:
        source, _, rest = mount.partition(":")
        target = rest.split(":")[0] or source
        if not (source.startswith("/") and target.startswith("/")):
            raise ConfigError(f"{PYXIS_MOUNTS}: {mount!r} is not SOURCE:TARGET[:FLAGS], of absolute paths")
        targets.append(Path(target))
    return targets
