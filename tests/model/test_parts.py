"""A model in parts is the model of one file, however it is cut; and it appears whole or not at all."""

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cofi_dist.distributed.comm import SoloComm
from cofi_dist.distributed.messages import decode_outcome, encode_outcome
from cofi_dist.errors import CofiError, RunError
from cofi_dist.files.signed_json import digest_of
from cofi_dist.model import Model, store
from cofi_dist.model.parts import OwnRows
from cofi_dist.model.shared_save import save_shared
from cofi_dist.model.store import About
from cofi_dist.sharding.ranges import UserRange
from tests.support.models import in_parts, made_up


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return made_up(tmp_path)


def assert_same(a: Model, b: Model) -> None:
    ours, theirs = a.arrays.by_name, b.arrays.by_name
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert (array.dtype, array.tobytes()) == (theirs[name].dtype, theirs[name].tobytes()), name
    assert (a.facts, a.config) == (b.facts, b.config)
    assert a.users.raw.equals(b.users.raw)
    assert a.items.raw.equals(b.items.raw)


def test_a_model_in_parts_is_saved_in_parts_and_read_bit_for_bit(model: Model, tmp_path: Path) -> None:
    parted = in_parts(model, tmp_path / "m", users=[5, 6], items=[2, 9, 17])
    assert parted.arrays.is_in_parts
    assert_same(parted, model)
    parted.save(tmp_path / "m", replace=True)
    again = Model.load(tmp_path / "m")
    assert again.arrays.is_in_parts
    assert_same(again, model)
    assert_same(parted, model)  # its files stay open


def test_a_large_model_is_saved_in_parts_of_a_bounded_size(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_IN_ONE_FILE", 8 * 4 * (12 + 30))
    model.save(tmp_path / "one")
    assert (tmp_path / "one" / "factors.safetensors").exists()
    monkeypatch.setattr(store, "MOST_IN_ONE_FILE", 8 * 4 * (12 + 30) - 1)
    monkeypatch.setattr("cofi_dist.model.parts.FILE_BYTES", 8 * 4 * 7)
    model.save(tmp_path / "parts")
    assert sorted(path.name for path in (tmp_path / "parts").glob("*.safetensors")) == [
        *(f"items-{number:05}.safetensors" for number in range(5)),
        *(f"users-{number:05}.safetensors" for number in range(2)),
    ]
    assert_same(Model.load(tmp_path / "parts"), Model.load(tmp_path / "one"))


class Meeting:
    """Where the threads of a test meet as ranks."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=20)
        self.told = [""] * size


class ThreadComm(SoloComm):
    """A rank that is a thread; it can do what a shared save asks for."""

    def __init__(self, rank: int, meeting: Meeting) -> None:
        self.rank, self._meeting, self.world_size = rank, meeting, len(meeting.told)

    def all_gather_objects(self, item: Any) -> list[Any]:
        meeting = self._meeting
        meeting.told[self.rank] = json.dumps(item)
        meeting.barrier.wait()
        found = [json.loads(each) for each in meeting.told]
        meeting.barrier.wait()
        return found

    def from_rank_zero(self, work: Callable[[], Any]) -> Any:
        told = encode_outcome(work).decode() if self.rank == 0 else ""
        return decode_outcome(self.all_gather_objects(told)[0].encode())


def on_ranks(model: Model, directory: Path, own: Sequence[list[OwnRows]]) -> list[str]:
    """Save a model on as many ranks; what each of them raised."""
    about = About(model.facts, model.users, model.items, model.config)
    meeting, said = Meeting(len(own)), [""] * len(own)

    def rank(number: int) -> None:
        try:
            save_shared(directory, own[number], about, ThreadComm(number, meeting), replace=True)
        except CofiError as error:
            assert error.shared
            said[number] = f"{type(error).__name__}: {error}"

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(len(own))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def rows_of_ranks(model: Model) -> list[list[OwnRows]]:
    """Two ranks' own users, and slices of blocks of items; a third rank has nothing."""
    arrays = model.arrays.by_name

    def users(start: int, stop: int) -> OwnRows:
        vectors = {"b": arrays["b"][0, start:stop], "user_counts": arrays["user_counts"][start:stop]}
        return OwnRows("users", [UserRange(start, stop)], {"W": arrays["W"][start:stop], **vectors})

    def items(*cuts: tuple[int, int]) -> OwnRows:
        rows = np.concatenate([np.arange(*cut) for cut in cuts])
        vectors = {name: arrays[name].reshape(-1)[rows] for name in ("c", "item_means", "item_counts")}
        return OwnRows("items", [UserRange(*cut) for cut in cuts], {"X": arrays["X"][rows], **vectors})

    return [[users(0, 5), items((0, 8), (16, 23))], [users(5, 12), items((8, 16), (23, 30))], []]


def test_every_rank_writes_its_own_rows(model: Model, tmp_path: Path) -> None:
    assert on_ranks(model, tmp_path / "m", rows_of_ranks(model)) == ["", "", ""]
    assert_same(Model.load(tmp_path / "m"), model)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        *("config.yaml", "items-00000.safetensors", "items-00001.safetensors", "items.parquet"),
        *("parts.json", "users-00000.safetensors", "users-00001.safetensors", "users.parquet"),
    ]


@pytest.mark.parametrize("bad", [0, 1])
def test_if_a_rank_fails_the_old_model_stays(bad: int, model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    own = rows_of_ranks(model)
    own[bad][0].tensors["W"] = own[bad][0].tensors["W"] * np.inf
    says = f"RunError: {tmp_path / 'm'}: W holds a number that is not finite; nothing was written"
    assert on_ranks(model, tmp_path / "m", own) == [says] * 3
    assert_same(Model.load(tmp_path / "m"), model)
    assert {path.name for path in tmp_path.iterdir()} == {"m", "c.yaml"}


def test_if_rows_are_missing_the_old_model_stays(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    own = rows_of_ranks(model)
    own[1].pop()
    said = on_ranks(model, tmp_path / "m", own)
    assert len(set(said)) == 1
    assert "do not hold every one of 15 items once" in said[0]
    assert_same(Model.load(tmp_path / "m"), model)


def _signed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        file = directory / "parts.json"
        said = json.loads(file.read_text())
        change(said)
        file.write_text(json.dumps({**said, "sha256": digest_of(said)}))

    return damage


def _flip(directory: Path, name: str, place: int) -> None:
    file = directory / name
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing part": (
        lambda d: (d / "users-00001.safetensors").unlink(),
        r"users-00001\.safetensors: is missing",
    ),
    "truncated part": (
        lambda d: (d / "items-00000.safetensors").write_bytes(
            (d / "items-00000.safetensors").read_bytes()[:-8]
        ),
        r"items-00000\.safetensors: has \d+ bytes, not \d+: it was cut off",
    ),
    "another part": (
        lambda d: (d / "users-00000.safetensors").write_bytes((d / "users-00001.safetensors").read_bytes()),
        r"users-00000\.safetensors: has \d+ bytes, not",
    ),
    "changed header": (lambda d: _flip(d, "users-00000.safetensors", 3), r"is no safetensors file"),
    "changed count": (
        lambda d: _flip(d, "users-00000.safetensors", 300),
        r"its content is not what was written",
    ),
    "changed manifest": (
        lambda d: (d / "parts.json").write_text(
            (d / "parts.json").read_text().replace('"stop"', '"stap"', 1)[:-9]
        ),
        r"parts\.json: is not JSON",
    ),
    "unsigned manifest": (
        lambda d: (d / "parts.json").write_text((d / "parts.json").read_text().replace("12", "13", 1)),
        r"parts\.json: its content is not what was written: its own checksum differs",
    ),
    "overlapping rows": (
        _signed(lambda said: said["parts"][1].update(ranges=[[4, 12]])),
        r"parts\.json: its files do not hold every one of 12 users once",
    ),
    "rows upside down": (
        _signed(lambda said: said["parts"][0].update(ranges=[[0, 9], [9, 5]])),
        r"parts\.json: a file of users holds a range of no rows",
    ),
    "other features": (
        _signed(lambda said: said.update(num_features=5)),
        r"does not hold what parts\.json says",
    ),
    "other checksums": (
        _signed(lambda said: said["parts"][0].update(sums="0" * 32)),
        r"users-00000\.safetensors: has another size than its checksums",
    ),
    "no parts": (_signed(lambda said: said.update(parts=[])), r"do not hold every one of 12 users once"),
    "a newer format": (
        _signed(lambda said: said.update(format=2)),
        r"parts\.json: has format 2; this version",
    ),
    "two models": (
        lambda d: (d / "factors.safetensors").write_bytes(b""),
        r"holds two models, factors\.safetensors and parts\.json",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model_is_refused_in_one_line(damage: str, model: Model, tmp_path: Path) -> None:
    in_parts(model, tmp_path / "m", users=[5], items=[2, 9, 17])
    harm, says = DAMAGE[damage]
    harm(tmp_path / "m")
    with pytest.raises(RunError, match=says) as caught:
        Model.load(tmp_path / "m")
    assert "\n" not in str(caught.value)


def test_a_changed_number_is_found_when_it_is_used(model: Model, tmp_path: Path) -> None:
    """In pieces so small that loading reads none of the number's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("cofi_dist.files.piece_sums.PIECE", 64)
        in_parts(model, tmp_path / "m", users=[5])
        size = (tmp_path / "m" / "users-00001.safetensors").stat().st_size
        _flip(tmp_path / "m", "users-00001.safetensors", size - 8 * 7 * (4 + 2))  # of its first W
        damaged = Model.load(tmp_path / "m")
        assert damaged.recommend("u0002").equals(model.recommend("u0002"))
        for use in (
            lambda: damaged.recommend("u0005"),
            lambda: damaged.save(tmp_path / "n"),
            lambda: damaged.factors,
        ):
            with pytest.raises(
                RunError, match=r"users-00001\.safetensors: its content is not what was written"
            ):
                use()
    assert not (tmp_path / "n").exists()
