"""Ranks compare what they were told before anything else, and show that they hold the job's token."""

import ipaddress
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from cofi_dist.cli.main import main
from cofi_dist.distributed import handshake
from cofi_dist.distributed.comm import Comm
from cofi_dist.distributed.handshake import Task, require_same_task, require_token_proofs, token_proof
from cofi_dist.distributed.rendezvous import init_comm
from cofi_dist.errors import CofiError, ConfigError, TrainingError
from cofi_dist.run.train import train
from cofi_dist.system.variables import VARIABLES
from cofi_dist.testing import CONTEXT, run_ranks
from tests.support.runs import CONFIG, run

TOKEN = "a word that nobody guesses"


def said(command: str = "train --config a.yaml", **changes: Any) -> str:
    """What a rank on node1 says, but for some changes."""
    facts = {"command": "train", "run_dir": "a", "train": {"lr": 0.1, "epochs": 5}}
    known = json.loads(Task(command, lambda: facts).announcement())
    return json.dumps({**known, "host": "node1", "jobs": {"SLURM_JOB_ID": "7"}, **changes})


FIRST = said()
OTHERS = {
    "command and config": (
        said("train --config b.yaml", host="node2", facts={"command": "train", "train": {"lr": 0.2}}),
        "rank 1 on node2 runs `train --config b.yaml`, rank 0 on node1 runs `train --config a.yaml`: run_dir,"
        " train.lr, train.epochs differ; give all ranks the same command and config,",
    ),
    "content of the same file": (
        said(facts={"command": "train", "run_dir": "a", "train": {"lr": 0.2, "epochs": 5}}),
        "runs `train --config a.yaml`, rank 0 on node1 runs `train --config a.yaml`: train.lr differ",
    ),
    "a file that is not there": (
        said(facts={"refused": "a.yaml: cannot be read"}),
        "and what rank 1 on node1 was told is refused there: a.yaml: cannot be read",
    ),
    "version": (
        said(versions={**json.loads(FIRST)["versions"], "torch": "1.0"}),
        "rank 1 on node1 has torch 1.0, rank 0 on node1 has ",
    ),
    "job": (
        said(jobs={"SLURM_JOB_ID": "8"}),
        "rank 1 on node1 has SLURM_JOB_ID=8, rank 0 on node1 has SLURM_JOB_ID=7: two jobs have met",
    ),
    "token": (
        said(has_token=True),
        "rank 0 on node1 has no COFI_DIST_TOKEN, rank 1 on node1 has one; set the same on every node,",
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_differs_is_named_with_both_ranks(what: str) -> None:
    other, wanted = OTHERS[what]
    with pytest.raises(ConfigError) as raised:
        require_same_task([FIRST, other])
    assert wanted in str(raised.value)
    assert raised.value.exit_code == 2


def test_what_may_differ_does() -> None:
    # the same config by another name; another folder and host; a shell that knows nothing of the job
    require_same_task([FIRST, said("train --config ./a.yaml", host="node2", jobs={"SLURM_JOB_ID": ""})])


STRANGE = ["", "[]", "{}", "null", "[" * 100_000, json.dumps({**json.loads(FIRST), "versions": ["1"]})]


@pytest.mark.parametrize("words", STRANGE, ids=range(len(STRANGE)))
def test_a_rank_that_says_something_else_is_refused_in_a_line(words: str) -> None:
    with pytest.raises(TrainingError, match="rank 1 says nothing that a rank of cofi_dist"):
        require_same_task([FIRST, words])


def test_a_proof_is_of_this_meeting_this_rank_and_this_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFI_DIST_TOKEN", TOKEN)
    meeting = [said(), said()]
    proofs = [token_proof(meeting, rank) for rank in range(2)]
    require_token_proofs(proofs, meeting, 0)
    assert TOKEN not in " ".join([*proofs, *meeting])
    monkeypatch.setenv("COFI_DIST_TOKEN", TOKEN.upper())
    others = token_proof(meeting, 1)
    monkeypatch.setenv("COFI_DIST_TOKEN", TOKEN)
    for shown in (token_proof([said(), said()], 1), proofs[0], others, "", None, 7):
        with pytest.raises(ConfigError, match="rank 1 on node1 does not hold the COFI_DIST_TOKEN of rank 0"):
            require_token_proofs([proofs[0], shown], meeting, 0)


def _become(rank: int, port: int) -> None:
    torch.set_num_threads(1)
    for name in VARIABLES:
        os.environ.pop(name, None)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}


def _meets(log: Path, rank: int, port: int, changes: Mapping[str, str], facts: Mapping[str, Any]) -> None:
    _become(rank, port)
    os.environ |= changes
    if version := changes.get("VERSION"):
        setattr(handshake, "__version__", version)  # noqa: B010
    try:
        init_comm(Task(f"train {rank}", lambda: facts)).close()
    except CofiError as error:
        log.write_text(str(error))
        os._exit(error.exit_code)


def meeting(tmp: Path, work: Callable[..., None], *ranks: tuple[Any, ...]) -> list[tuple[int | None, str]]:
    """How two ranks end that meet, and what they say."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    logs = [tmp / f"{rank}.log" for rank in range(2)]
    processes = [
        CONTEXT.Process(target=work, args=(log, rank, port, *given))
        for rank, (log, given) in enumerate(zip(logs, ranks, strict=True))
    ]
    for log, process in zip(logs, processes, strict=True):
        log.write_text("")
        process.start()
    for process in processes:
        process.join(50)
        process.kill()
    return [(process.exitcode, log.read_text()) for process, log in zip(processes, logs, strict=True)]


def _listens(log: Path, rank: int, port: int) -> None:
    _become(rank, port)
    comm = init_comm()
    process = psutil.Process()
    sockets = getattr(process, "net_connections", None) or process.connections  # before psutil 6
    log.write_text(" ".join(each.laddr.ip for each in sockets("tcp") if each.status == psutil.CONN_LISTEN))
    comm.close()


def test_ranks_of_one_host_listen_where_no_other_host_can_reach_them(tmp_path: Path) -> None:
    for code, addresses in meeting(tmp_path, _listens, (), ()):
        assert code == 0
        assert addresses.split()
        assert all(ipaddress.ip_address(address).is_loopback for address in addresses.split()), addresses


FACTS = {"command": "train", "run_dir": "a"}
SECRET = {"COFI_DIST_TOKEN": TOKEN}
MEETINGS: dict[str, Any] = {
    "nothing": (({}, FACTS), ({}, FACTS), ""),
    "one token": ((SECRET, FACTS), (SECRET, FACTS), ""),
    "two tokens": ((SECRET, FACTS), ({"COFI_DIST_TOKEN": TOKEN * 2}, FACTS), "does not hold the COFI_DIST"),
    "no token on one": ((SECRET, FACTS), ({}, FACTS), "rank 1 on .* has no COFI_DIST_TOKEN, rank 0 on "),
    "another run": (({}, FACTS), ({}, {**FACTS, "run_dir": "b"}), "runs `train 1`, rank 0 on .*: run_dir"),
    "another version": (({}, FACTS), ({"VERSION": "9.9"}, FACTS), "rank 1 on .* has cofi_dist 9.9, rank 0"),
}


@pytest.mark.parametrize("what", MEETINGS)
def test_ranks_that_meet_agree_or_all_leave_with_2_and_both_names(what: str, tmp_path: Path) -> None:
    *ranks, wanted = MEETINGS[what]
    for code, words in meeting(tmp_path, _meets, *ranks):
        if not wanted:
            assert (code, words) == (0, "")
        else:
            assert code == 2, words
            assert re.search(wanted, words), words


@pytest.mark.parametrize("token", ["", " ", "short"])
def test_a_token_that_can_be_guessed_is_refused(token: str, tmp_path: Path) -> None:
    for code, words in meeting(tmp_path, _meets, *[({"COFI_DIST_TOKEN": token}, FACTS)] * 2):
        assert code == 2
        assert "COFI_DIST_TOKEN: has " in words


def _commands(log: Path, rank: int, port: int, folder: Path, *arguments: str) -> None:
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), stream)
    _become(rank, port)
    os.chdir(folder)
    sys.argv = ["cofi-dist", *arguments]
    main()


def test_ranks_that_are_given_other_models_do_not_evaluate_them(tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        run(tmp_path / folder, 1, 10, "run", f"seed={seed}")
    a, b = (tmp_path / folder for folder in "ab")
    alike = ("evaluate", "run", "--part", "validation")
    assert [code for code, _ in meeting(tmp_path, _commands, (a, *alike), (a, *alike))] == [0, 0]
    by_path = meeting(tmp_path, _commands, (tmp_path, "evaluate", "a/run"), (tmp_path, "evaluate", "b/run"))
    assert [code for code, _ in by_path] == [2, 2]
    assert "runs `evaluate b/run`, rank 0 on " in by_path[0][1]
    assert "runs `evaluate a/run`: run differ" in by_path[0][1]
    assert not by_path[1][1], "it is said once a node"
    by_content = meeting(tmp_path, _commands, (a, *alike), (b, *alike))
    assert [code for code, _ in by_content] == [2, 2]
    assert "run: the model is another one for rank 1 than for rank 0" in by_content[0][1]


TRAIN = ("train", "--config", "c.yaml")
TUNE = ("tune", "--config", "c.yaml", "--output", "grid", "--grid")
COMMANDS = {
    "another grid": ((*TUNE, "train.lr=0.1,0.2"), (*TUNE, "train.lr=0.1,0.3"), "differ"),
    "another command": (
        TRAIN,
        (*TUNE, "train.lr=0.1"),
        "rank 1 on .* runs `tune .*, rank 0 on .* runs `train",
    ),
    "--replace on one": (TRAIN, (*TRAIN, "--replace"), "--replace`, rank 0 .*: replace differ"),
    "a mistake on one": (
        TRAIN,
        (*TRAIN, "train.x=1"),
        "is refused there: c.yaml .override.: train.x: unknown",
    ),
    "the same mistake": (
        (*TRAIN, "train.x=1"),
        (*TRAIN, "train.x=1"),
        "^cofi-dist: c.yaml .override.: train.x",
    ),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_ranks_of_two_commands_leave_with_2_and_do_nothing(what: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    first, second, wanted = COMMANDS[what]
    (code, said), (other, _) = meeting(tmp_path, _commands, (tmp_path, *first), (tmp_path, *second))
    assert (code, other) == (2, 2), said
    assert re.search(wanted, said), said
    assert {path.name for path in tmp_path.iterdir()} == {"c.yaml", "0.log", "1.log"}


def _reads(comm: Comm, folder: Path) -> str:
    os.chdir(folder / str(comm.rank))
    with pytest.raises(ConfigError) as raised:
        train(folder / "c.yaml", [f"run_dir={folder / 'run'}"], comm, quiet=True)
    return str(raised.value)


def test_ranks_that_read_other_ratings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("data: {y: Y.npy, r: R.npy}\nmodel: {num_features: 2}\n")
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
        R = np.ones((3, 4 + rank))
        np.save(tmp_path / str(rank) / "Y.npy", R)
        np.save(tmp_path / str(rank) / "R.npy", R)
    for said in run_ranks(2, _reads, tmp_path, tmp=tmp_path):
        assert said.startswith("what is read of the ratings is another one for rank 1 than for rank 0")
