"""What is commonly wrong with a batch script is found, and what is right is not."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.config import Config, load_config
from cofi_dist.errors import ConfigError
from cofi_dist.slurm.check import check_script
from cofi_dist.slurm.render import Job, render_script
from cofi_dist.slurm.sbatch import Signal, parse_script, parse_time

SCRIPTS = Path(__file__).parents[2] / "slurm"
REQUEUE = (SCRIPTS / "train_requeue.sbatch").read_text()
PLAIN = (SCRIPTS / "train.sbatch").read_text()


def job(**changes: Any) -> Job:
    plain: dict[str, Any] = {
        "name": "a",
        "nodes": 1,
        "gpus_per_node": 1,
        "time": "5",
        "lead": None,
        "options": [],
    }
    return Job(**{**plain, **changes})


def config(tmp_path: Path, *overrides: str) -> Config:
    (tmp_path / "c.yaml").write_text("data: {synthetic: {}}\ncheckpoint: {every: 10, resume: auto}\n")
    # /proc: a file system that is no local disk
    run_dir = [] if any(text.startswith("run_dir=") for text in overrides) else ["run_dir=/proc/run"]
    return load_config(tmp_path / "c.yaml", [*run_dir, *overrides])


@pytest.mark.parametrize("text", [PLAIN, REQUEUE])
def test_our_own_scripts_are_right(text: str, tmp_path: Path) -> None:
    assert check_script(parse_script(text, {}), config(tmp_path)) == []


@pytest.mark.parametrize("lead", [None, 20])
def test_so_are_those_that_are_written(lead: int | None, tmp_path: Path) -> None:
    text = render_script(
        job(name="a b", nodes=3, gpus_per_node=4, time="2-00", lead=lead, options=["--partition=x"]),
        ["--config", "a b.yaml"],
    )
    script = parse_script(text, {})
    assert (script.nodes, script.seconds, script.lead) == (3, 172_800, lead)
    assert script.options["gpus-per-node"] == "4"
    assert script.options["job-name"] == "a_b"
    assert "set -- --config 'a b.yaml' \"$@\"" in text
    assert check_script(script, config(tmp_path)) == []
    assert "gpus-per-node" not in parse_script(render_script(job(gpus_per_node=0, lead=lead), []), {}).options


@pytest.mark.parametrize(
    ("text", "old", "new", "said"),
    [
        (PLAIN, "--ntasks-per-node=1", "--ntasks-per-node=4", "a node would get 4 torchruns"),
        (PLAIN, "--ntasks-per-node=1", "--ntasks=8", "--ntasks=8: torchrun is one task per node"),
        (PLAIN, "#SBATCH --ntasks-per-node=1", "#", "--ntasks-per-node: is missing"),
        (PLAIN, "PORT=.*", "PORT=80", "port 80: users cannot listen on it"),
        (REQUEUE, "#SBATCH --requeue", "#", "--requeue: is missing; the script requeues the job"),
        (REQUEUE, "--requeue ", "--no-requeue ", "--no-requeue forbids it"),
        (REQUEUE, "checkpoint.resume=auto", "", "a requeued job finds its run_dir taken"),
        (REQUEUE, "--time=01:00:00", "--time=5", "--time: 300 s in all, and --signal warns up to 330 s"),
        (REQUEUE, "SAVE_SECONDS:-240", "SAVE_SECONDS:-300", "SAVE_SECONDS=300: torchrun would wait longer"),
        (REQUEUE, ",SIGUSR1", "", "--signals-to-handle: torchrun dies of SIGUSR1"),
        (REQUEUE, "B:USR1", "USR1", "without B: the script itself is not warned"),
    ],
)
def test_what_makes_a_job_fail_is_found(text: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    changed = re.sub(old, new, text)
    assert changed != text
    found = check_script(parse_script(changed, {}), config(tmp_path, "checkpoint.resume=none"))
    assert [said in finding.text for finding in found if finding.certain] == [True]


@pytest.mark.parametrize(
    ("text", "old", "new", "said"),
    [
        (PLAIN, "PORT=.*", "PORT=29500", "port 29500: is the same for all jobs"),
        (PLAIN, "PORT=.*", "PORT=40000", "port 40000: Linux assigns such ports"),
        (REQUEUE, "--open-mode=append", "--open-mode=truncate", "--open-mode: set it to append"),
        (REQUEUE, "scontrol requeue", "#", "--signal: the script is warned, but does not call"),
    ],
)
def test_what_may_go_wrong_is_said(text: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    found = check_script(parse_script(re.sub(old, new, text), {}), config(tmp_path))
    assert any(said in finding.text for finding in found)
    assert not any(finding.certain for finding in found)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("run_dir=/dev/shm/run", "run_dir: /dev/shm/run is on tmpfs of this host"),
        ("checkpoint.every=null", "checkpoint.every: is not set"),
        ("device=cpu", "device: is cpu, but GPUs are asked for"),
    ],
)
def test_what_the_config_adds(override: str, said: str, tmp_path: Path) -> None:
    (found,) = check_script(parse_script(REQUEUE, {}), config(tmp_path, override))
    assert said in found.text


@pytest.mark.parametrize(
    ("deadline", "time", "early"),
    [
        ("-301", "01:00:00", True),
        ("-300", "01:00:00", False),
        ("3299", "01:00:00", True),
        ("3300", "01:00:00", False),
        ("99999", "UNLIMITED", True),
    ],
)
def test_a_deadline_before_the_warning_is_found(
    deadline: str, time: str, early: bool, tmp_path: Path
) -> None:
    script = parse_script(REQUEUE.replace("--time=01:00:00", f"--time={time}"), {})
    found = check_script(script, config(tmp_path, f"train.deadline={deadline}"))
    assert [f.text.split(" makes the run leave")[0] for f in found if f.certain] == (
        [f"train.deadline: {deadline}"] if early else []
    )
    # that one is not requeued
    assert check_script(parse_script(PLAIN, {}), config(tmp_path, f"train.deadline={deadline}")) == []


def test_a_cuda_run_without_gpus_is_wrong(tmp_path: Path) -> None:
    text = PLAIN.replace("#SBATCH --gpus-per-node=1", "#")
    (found,) = check_script(parse_script(text, {}), config(tmp_path, "device=cuda"))
    assert "device: is cuda, but no GPUs are asked for" in found.text


def test_the_environment_of_sbatch_counts(tmp_path: Path) -> None:
    found = check_script(
        parse_script(REQUEUE, {"SBATCH_TIMELIMIT": "1", "SBATCH_NO_REQUEUE": "1"}), config(tmp_path)
    )
    assert {finding.text.split(":")[0] for finding in found} == {"--requeue", "--time"}


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("#SBATCH -N2 -p gpu --requeue", {"nodes": "2", "partition": "gpu", "requeue": ""}),
        ("#SBATCH  --time   5  -G 4 # GPUs", {"time": "5", "gpus": "4"}),
        ("#SBATCH --comment='a # b' --exclusive", {"comment": "a # b", "exclusive": ""}),
        ('#SBATCH --job-name="a b" -H', {"job-name": "a b", "H": ""}),
        ("# SBATCH --time=5", {}),
        (" #SBATCH --time=5", {}),
    ],
)
def test_a_line_is_read_as_sbatch_reads_it(line: str, options: dict[str, str]) -> None:
    assert parse_script(f"#!/bin/sh\n  # indented\n{line}\n", {}).options == options


def test_a_line_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ConfigError, match="line 2: #SBATCH --comment='a: No closing quotation"):
        parse_script("#!/bin/sh\n#SBATCH --comment='a\n", {})


@pytest.mark.parametrize("time", ["UNLIMITED", "infinite", "0"])
def test_a_job_without_a_limit_has_time_enough(time: str, tmp_path: Path) -> None:
    assert (
        check_script(parse_script(REQUEUE.replace("--time=01:00:00", f"--time={time}"), {}), config(tmp_path))
        == []
    )


@pytest.mark.parametrize(
    ("signal", "name", "to_shell", "lead"),
    [
        ("B:USR1@300", "USR1", True, 300),
        ("rb:10@5", "USR1", True, 5),
        ("SIGTERM", "TERM", False, 60),
        ("R:usr2@7", "USR2", False, 7),
        ("B:2@60", "INT", True, 60),
    ],
)
def test_signals_are_read_as_slurm_reads_them(signal: str, name: str, to_shell: bool, lead: int) -> None:
    assert parse_script(f"#SBATCH --signal={signal}\n", {}).signal == Signal(name, to_shell, lead)


def test_another_signal_is_asked_after_and_no_torchrun_needs_none(tmp_path: Path) -> None:
    (found,) = check_script(parse_script(REQUEUE.replace("B:USR1", "B:USR2"), {}), config(tmp_path))
    assert "torchrun dies of SIGUSR2" in found.text
    without = REQUEUE.replace("torch.distributed.run", "x").replace("torchrun", "x").replace(",SIGUSR1", "")
    assert check_script(parse_script(without, {}), config(tmp_path)) == []


@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_quoted_list_of_signals_is_right(quote: str, tmp_path: Path) -> None:
    text = re.sub(r"(--signals-to-handle=)(\S+)", rf"\1{quote}\2{quote}", REQUEUE)
    assert text != REQUEUE
    assert check_script(parse_script(text, {}), config(tmp_path)) == []
    unknown = re.sub(r"(--signals-to-handle=)(\S+)", r'\1"$SIGNALS"', REQUEUE)
    (found,) = check_script(parse_script(unknown, {}), config(tmp_path))
    assert not found.certain


def test_a_word_that_is_no_option_is_named() -> None:
    with pytest.raises(ConfigError, match="'foo' is not an option"):
        parse_script("#SBATCH foo --time=5\n", {})


def test_options_are_quoted_where_they_must_be() -> None:
    given = ["--comment=it's a # b", "-p gpu", "--exclusive"]
    options = parse_script(render_script(job(options=given), []), {}).options
    assert (options["comment"], options["partition"], options["exclusive"]) == ("it's a # b", "gpu", "")
    for wrong in ("gpu", "--comment=a\nb"):
        with pytest.raises(ConfigError, match="is not an option of sbatch"):
            render_script(job(options=[wrong]), [])
    with pytest.raises(ConfigError, match="sbatch drops backslashes"):
        render_script(job(options=["--comment=a\\b"]), [])


def test_options_end_at_the_first_command() -> None:
    text = "#!/bin/bash\n#SBATCH -N 2 # nodes\n##SBATCH --time=5\n\n#SBATCH --requeue\nA=1\n#SBATCH -t 3\n"
    assert parse_script(text, {}).options == {"nodes": "2", "requeue": ""}


@given(
    days=st.integers(0, 40), hours=st.integers(0, 23), minutes=st.integers(0, 59), seconds=st.integers(0, 59)
)
def test_times_are_read_as_slurm_reads_them(days: int, hours: int, minutes: int, seconds: int) -> None:
    whole = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert parse_time(f"{days}-{hours}:{minutes}:{seconds}") == whole
    assert parse_time(f"{days}-{hours}:{minutes}") == whole - seconds
    assert parse_time(f"{days}-{hours:02}") == whole - seconds - 60 * minutes
    assert parse_time(f"{hours}:{minutes}:{seconds}") == whole % 86400
    assert parse_time(f"{minutes}:{seconds:02}") == 60 * minutes + seconds
    assert parse_time(f"{minutes}") == 60 * minutes


@given(st.text(alphabet="0123456789:- x²", max_size=10))
def test_any_other_time_is_an_error(text: str) -> None:
    if re.fullmatch(r"([0-9]+-)?[0-9]+(:[0-9]+){0,2}", text):
        assert parse_time(text) >= 0
        return
    with pytest.raises(ConfigError, match="is not a time that SLURM takes"):
        parse_time(text)
