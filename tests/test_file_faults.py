"""No file call of any command that fails, falls short or is the last one loses anything in silence.

A sample; `python -m tools.file_faults` tries every call.
"""

import random
from collections.abc import Iterator

import pytest

from tools.file_faults.commands import COMMANDS, served
from tools.file_faults.outcome import GOOD, Bench, faults
from tools.file_faults.server import Server, compiler

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not compiler(), reason="no C compiler here, or no Linux")]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("faults").resolve()
    with served() as url, Server(folder, url) as server:
        yield Bench(folder, server)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_fault_ends_in_one_line_or_a_whole_result(name: str, bench: Bench) -> None:
    want, rng = bench.undisturbed(name), random.Random(name)
    tried = rng.sample(list(faults(want.seen)), 3 if COMMANDS[name].run else 1)
    bad = {
        f"{kind} at {fault.at}": outcome
        for kind, fault in tried
        if (outcome := bench.try_(name, fault, want)) not in GOOD
    }
    assert not bad
