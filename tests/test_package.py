"""What is published: a source distribution of the whole checkout, and a wheel that needs nothing of it."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from cofi_dist.version import __version__

ROOT = Path(__file__).parents[1]
# what git ignores, and what a checkout holds beside its files
LEFT_OUT = shutil.ignore_patterns(
    *(
        ".git",
        ".venv*",
        ".*_cache",
        ".hypothesis",
        "__pycache__",
        "*.egg-info",
        "build",
        "dist",
        "runs",
        "data-*",
    ),
    *("site", "*.npy", "*.pt", "ml-*", "slurm-*.out", "benchmarks-results"),
)


def run(*words: object, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        list(map(str, words)),
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def left_out(folder: str, names: list[str]) -> set[str]:
    """Return what is not copied: at the root also what git does not know, such as a config to try."""
    found = set(LEFT_OUT(folder, names))
    if Path(folder) == ROOT and shutil.which("git"):
        command = ["git", "ls-files", "--others", "--directory"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
        found |= {line.removesuffix("/") for line in listed.splitlines()}
    return found


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source distribution, the wheel built from it, and `tree`: the files that they are of.

    They are built without isolation, by the build back end that is here, as a test needs no network.
    """
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT, folder / "tree", ignore=left_out, symlinks=True)
    (folder / "dist").mkdir()
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", cwd=folder / "tree")
    return folder


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_the_source_distribution_is_the_whole_checkout(dist: Path) -> None:
    with tarfile.open(only(dist / "dist", "*.tar.gz")) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
    tree = dist / "tree"
    files = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    missing = files - packed
    assert not missing


def test_the_wheel_has_all_of_the_package_from_the_checkout_or_the_source_distribution(dist: Path) -> None:
    run(
        *(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", dist / "direct"),
        cwd=dist / "tree",
    )
    ours, theirs = (content(only(dist / folder, "*.whl")) for folder in ("dist", "direct"))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    tree = dist / "tree"
    files = {str(path.relative_to(tree)) for path in (tree / "cofi_dist").rglob("*") if path.is_file()}
    assert files - ours.keys() == set()
    folders = {name.partition("/")[0] for name in ours}
    assert folders == {"cofi_dist", f"cofi_dist-{__version__}.dist-info"}


def test_metadata_are_as_pypi_wants_them(dist: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted((dist / "dist").iterdir()), cwd=dist)


def test_the_links_of_the_page_on_pypi_lead_to_files_at_the_project_s_address(dist: Path) -> None:
    metadata = content(only(dist / "dist", "*.whl"))[f"cofi_dist-{__version__}.dist-info/METADATA"].decode()
    links = re.findall(r"\]\(([^)]+)\)", metadata)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    files = f"{project['urls']['Homepage']}/blob/main/"
    inside = [link for link in links if not link.startswith(("https://", "#")) or link.startswith(files)]
    assert inside
    for link in inside:
        assert link.startswith(files), link
        assert (ROOT / link.removeprefix(files).partition("#")[0]).is_file(), link


def test_the_wheel_works_away_from_the_checkout(dist: Path) -> None:
    with zipfile.ZipFile(only(dist / "dist", "*.whl")) as opened:
        opened.extractall(dist / "site")
    away = dist / "away"
    away.mkdir()

    def python(*words: str) -> str:
        return run(sys.executable, *words, cwd=away, PYTHONPATH=str(dist / "site"))

    where = python("-c", "import cofi_dist; print(cofi_dist.__file__)")
    assert Path(where.strip()).is_relative_to(dist / "site")
    # the dense cost compiles no loops, which a new folder has none of
    small = ["data.synthetic={num_users: 20, num_items: 30, num_ratings: 100}", "train.cost=dense"]
    python("-m", "cofi_dist", "quickstart", "train.epochs=2", *small)
    assert (away / "runs/quickstart/model").is_dir()
    python("-m", "cofi_dist", "slurm", "--config", "runs/quickstart/config.yaml", "--output", "job.sbatch")
    assert (away / "job.sbatch").is_file()


def test_what_is_said_in_two_places_is_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["repository-code"] == project["urls"]["Homepage"]
    assert citation["license"] == project["license"]
    assert citation["keywords"] == project["keywords"]
    assert [{"name": author["name"]} for author in citation["authors"]] == project["authors"]
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
    tested = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    named = [
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in project["classifiers"]
    ]
    assert tested["jobs"]["suite"]["strategy"]["matrix"]["python"] == [found[1] for found in named if found]


def test_both_kinds_of_image_have_the_same_packages() -> None:
    docker = (ROOT / "Dockerfile").read_text()
    apptainer = (ROOT / "containers/cofi_dist.def").read_text()
    for words in (
        "gcc libc6-dev python3-dev",
        "python3 python3-venv ca-certificates",
        "https://download.pytorch.org/whl/cpu",
    ):
        assert words in docker
        assert words in apptainer
    for key in ("EXTRAS", "FEATURES", "KIND"):
        found = [re.search(rf"\b{key}=(\S+)$", text, re.MULTILINE) for text in (docker, apptainer)]
        assert len({match[1] for match in found if match}) == 1, key
