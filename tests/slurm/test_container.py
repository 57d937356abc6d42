"""What stands in a batch script to run its ranks in an image, and what of the host they see there."""

import re
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cofi_dist.cli.main import app
from cofi_dist.config import Config, load_config
from cofi_dist.errors import ConfigError
from cofi_dist.slurm.check import check_script
from cofi_dist.slurm.container import Container, find_mounts, named_paths, read_targets
from cofi_dist.slurm.render import Job, render_script
from cofi_dist.slurm.sbatch import parse_script

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n"), min_size=1)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Return a config whose paths are in three folders, one of which is reached by a link."""
    for name in ("here", "store", "far", "far/deep"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far/deep")
    (tmp_path / "here/c.yaml").write_text("data: {ratings: ../store/r.csv}\n")
    monkeypatch.chdir(tmp_path / "here")
    return load_config("c.yaml", ["run_dir=../link/not/yet/run", f"train.start={tmp_path}/store/old"])


def job(container: Container | None, gpus: int = 1) -> Job:
    return Job(name="a", nodes=1, gpus_per_node=gpus, time="5", lead=None, options=[], container=container)


def test_what_a_run_needs_is_mounted(config: Config, tmp_path: Path) -> None:
    here = tmp_path / "here"
    assert [str(path.resolve().relative_to(tmp_path)) for path in named_paths(config)] == [
        *("store/r.csv", "store/old", "far/deep/not/yet"),
    ]
    folders = {mount.split(":")[0] for mount in find_mounts(here / "c.yaml", config).split(",")}
    assert {Path(folder).resolve() for folder in folders} == {
        *(here, tmp_path / "store", tmp_path / "far/deep"),
    }
    assert f"{tmp_path}/far/deep" in folders, "what a link leads to must be there too"


def test_a_folder_within_another_is_mounted_with_it(config: Config, tmp_path: Path) -> None:
    inside = config.model_copy(update={"run_dir": str(tmp_path / "run")})
    assert find_mounts(Path("c.yaml"), inside) == f"{tmp_path}:{tmp_path}"


def test_a_folder_that_cannot_be_mounted_is_named(config: Config, tmp_path: Path) -> None:
    odd = tmp_path / "a:b"
    odd.mkdir()
    for run_dir, folder in ((odd / "run", odd), (Path("/none/such/run"), "/")):
        with pytest.raises(ConfigError, match=f"^--container-mounts: {folder} would be needed, and cannot"):
            find_mounts(Path("c.yaml"), config.model_copy(update={"run_dir": str(run_dir)}))


@pytest.mark.parametrize("gpus", [0, 2])
def test_the_words_are_those_of_pyxis_and_of_apptainer(gpus: int, tmp_path: Path) -> None:
    folder = Path.cwd()
    pyxis = render_script(job(Container("nvcr.io#a/b:1", "/a:/b", by_apptainer=False), gpus), [])
    assert parse_script(pyxis, {}).container == [
        "--container-image=nvcr.io#a/b:1",
        "--container-mounts=/a:/b",
        f"--container-workdir={folder}",
    ]
    apptainer = render_script(job(Container("a b.sif", "/a:/b", by_apptainer=True), gpus), [])
    start = ["apptainer", "exec", *(["--nv"] if gpus else [])]
    assert parse_script(apptainer, {}).container == [
        *(*start, "--bind", "/a:/b", "--pwd", str(folder), "a b.sif"),
    ]
    for text in (pyxis, apptainer):
        assert "\nPYTHON=${PYTHON:-python3}\n" in text, "of the image"
    assert parse_script(render_script(job(None), []), {}).container == []


@given(words=st.lists(TEXT))
def test_what_bash_would_read_is_read(words: list[str]) -> None:
    script = f"#!/bin/bash\nA=1\nCONTAINER=({shlex.join(words)}) # (words)\nB=(2)\n"
    assert parse_script(script, {}).container == words


def test_an_array_of_several_lines_is_read_and_one_without_end_is_an_error() -> None:
    assert parse_script("#\nCONTAINER=(\n  a#b\n  'c )'\n)\nsrun x\n", {}).container == ["a#b", "c )"]
    with pytest.raises(ConfigError, match=r"^CONTAINER: its words cannot be read"):
        _ = parse_script("#\nCONTAINER=('a\n", {}).container


@pytest.mark.parametrize(
    "words", ["--container-mounts=/a:/b:ro,/c", "x --bind /a:/b:ro -B /c", "--bind=/a:/b,/c:/c"]
)
def test_mounts_are_read_however_they_are_written(words: str) -> None:
    assert read_targets(words.split()) == [Path("/b"), Path("/c")]


@pytest.mark.parametrize("mounts", ["a:/b", "/a:b", "", "/a:/b,"])
def test_a_mount_of_no_absolute_paths_is_refused(mounts: str) -> None:
    with pytest.raises(ConfigError, match=r"^--container-mounts: '.*' is not SOURCE:TARGET\[:FLAGS\]"):
        render_script(job(Container("x", mounts, by_apptainer=False)), [])


def test_what_is_in_no_mount_is_said(config: Config, tmp_path: Path) -> None:
    mounts = f"{tmp_path}/store:{tmp_path}/store"
    text = render_script(job(Container("x", mounts, by_apptainer=True)), [])
    (found,) = check_script(parse_script(text, {}), config)
    assert not found.certain
    assert found.text.startswith(f"{tmp_path}/link/not/yet: no mount of the container has it;")


def test_an_image_of_sbatch_is_wrong(config: Config) -> None:
    text = render_script(job(None), []).replace(
        "#SBATCH --nodes", "#SBATCH --container-image=x\n#SBATCH --nodes"
    )
    (found,) = check_script(parse_script(text, {}), config)
    assert found.certain
    assert (
        "--container-image: sbatch would run the script itself in the image, which has no srun" in found.text
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--container-image=a", "--apptainer=b"], "give one of them"),
        (["--container-mounts=/a:/a"], "--container-mounts is for an image; give --container-image or"),
        (["--container-image="], "'' is no image; name one"),
        (["--check=c.yaml", "--apptainer=b"], "--check writes nothing; leave --apptainer out"),
    ],
)
@pytest.mark.usefixtures("config")
def test_options_that_make_no_sense_are_refused(options: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["slurm", "--config", "c.yaml", *options])
    assert done.exit_code != 0
    assert re.search(re.escape(said), str(done.exception) + done.output)
    assert not Path("c.sbatch").exists()
