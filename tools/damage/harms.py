"""What can be wrong with a file, from missing to made to harm: each harm is a function of its path."""

import json
import math
import os
import pickle
import random
import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cofi_dist.files.signed_json import digest_of

Harm = Callable[[Path], object]
DEEP = "[" * 100_000
VALUES: list[Any] = [
    None, True, -1, 0, 0.5, 3, 10**12, 2**63, -(10**30), 1e308, -1e308, math.nan, math.inf, -math.inf,
    "", "x", "\x1b[2J\u2028\0", "9" * 100_000, [], [1, "a", None], {}, {"a": {"b": []}}, [[[[[]]]]],
]  # fmt: skip


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (os.system, ("touch exploded",))


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def instead(make: Harm) -> Harm:
    """Something else in the place of a file."""

    def harm(path: Path) -> None:
        clear(path)
        make(path)

    return harm


def content(data: bytes) -> Harm:
    return instead(lambda path: path.write_bytes(data))


def socket_at(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may have 100 letters
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def huge(path: Path) -> None:
    """A terabyte, none of which is on the disk."""
    os.truncate(path, 2**40)


def huge_zeros(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


def flipped(seed: int) -> Harm:
    def harm(path: Path) -> None:
        data, rng = bytearray(path.read_bytes()), random.Random(seed)
        for _ in range(rng.choice([1, 1, 3, 20])):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)

    return harm


def cut(seed: int) -> Harm:
    def harm(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: random.Random(seed).randrange(max(len(data), 1))])

    return harm


def of_any_file(seeds: range = range(3)) -> dict[str, Harm]:
    """What can happen to a file of any kind."""
    found: dict[str, Harm] = {
        "missing": clear,
        "empty": content(b""),
        "a folder": instead(Path.mkdir),
        "a pipe": instead(os.mkfifo),
        "a socket": instead(socket_at),
        "a device": instead(lambda path: path.symlink_to("/dev/zero")),
        "a link to itself": instead(lambda path: path.symlink_to(path.name)),
        "a pickle": content(pickle.dumps(Bomb())),
        "zeros": content(bytes(1000)),
        "bytes": content(bytes(range(256)) * 4),
        "text": content(b"hello\n" * 10),
        "nested": content(DEEP.encode()),
        "nested objects": content(b'{"a":' * 100_000),
        "grown to a terabyte": huge,
        "a terabyte of zeros": instead(huge_zeros),
        "null": content(b"null"),
        "a list": content(b"[]"),
        "an object": content(b"{}"),
        "a number of many digits": content(b"1" * 100_000),
        "more behind it": lambda path: path.write_bytes(path.read_bytes() + b"x" * 100),
    }
    for seed in seeds:
        found[f"flipped {seed}"] = flipped(seed)
        found[f"cut {seed}"] = cut(seed)
    return found


def places(said: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in what JSON said."""
    if path:
        yield path
    inner = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def put(said: Any, path: tuple[Any, ...], value: Any) -> Any:
    """What JSON said, with another value in one place; without it for KeyError."""
    said = json.loads(json.dumps(said))
    inner = said
    for key in path[:-1]:
        inner = inner[key]
    if value is KeyError:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return said


def shown(value: Any) -> str:
    return "removed" if value is KeyError else repr(value)[:30]


def of_json(path: Path, *, signed: bool = False) -> dict[str, Harm]:
    """Every key of a JSON file removed, and set to every value; with the checksum that fits, if signed."""
    said = json.loads(path.read_text())
    found: dict[str, Harm] = {}
    for place in places(said):
        for value in [KeyError, *VALUES]:

            def harm(file: Path, place: tuple[Any, ...] = place, value: Any = value) -> None:
                now = put(json.loads(file.read_text()), place, value)
                if signed and place != ("sha256",):
                    now["sha256"] = digest_of(now)
                file.write_text(json.dumps(now))

            found[f"{'.'.join(map(str, place))} {shown(value)}"] = harm
    return found


def of_lines(path: Path) -> dict[str, Harm]:
    """A line of metrics with every key set to every value; lines that are none."""
    first = json.loads(path.read_text().splitlines()[0])
    found: dict[str, Harm] = {}
    for key in first:
        for value in [KeyError, *VALUES]:

            def harm(file: Path, key: str = key, value: Any = value) -> None:
                with file.open("a") as lines:
                    lines.write(json.dumps(put(first | {"epoch": 19}, (key,), value)) + "\n")

            found[f"{key} {shown(value)}"] = harm
    odd = {
        "a line of binary": b"\xff\xfe\0\n",
        "a line of blanks": b"   \n",
        "an empty line": b"\n",
        "a long line": b'{"epoch": ' + b" " * 2**24 + b"1}\n",
        "a nested line": DEEP.encode() + b"\n",
        "carriage returns": b'\r{"epoch": 1}\r',
        "half a line": b'{"epoch": 12, "co',
    }
    for name, data in odd.items():
        found[name] = lambda file, data=data: file.write_bytes(file.read_bytes() + data)  # type: ignore[misc]
    return found


def tensors_of(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str] | None]:
    with safe_open(file, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118


def of_tensors(file: Path) -> dict[str, Harm]:
    """Tensors of other types, shapes and numbers; facts of other types; a header that lies."""
    tensors, metadata = tensors_of(file)
    found: dict[str, Harm] = {}
    for name in tensors:
        for what, change in CHANGES.items():
            found[f"{name} {what}"] = _tensor_harm(name, change)
    for name in metadata or {}:
        for value in VALUES:
            found[f"metadata {name} {shown(value)}"] = _metadata_harm(name, json.dumps(value))
        found[f"metadata {name} no JSON"] = _metadata_harm(name, "{")
        found[f"metadata {name} nested"] = _metadata_harm(name, DEEP)
        found[f"metadata {name} removed"] = _metadata_harm(name, None)
    found["metadata none"] = lambda file: save_file(tensors_of(file)[0], file)
    found["a tensor more"] = _tensor_harm("more", lambda t: torch.zeros(3))
    for what, header in HEADERS.items():
        found[f"header {what}"] = _header_harm(header)
    return found


def _tensor_harm(name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Harm:
    def harm(file: Path) -> None:
        tensors, metadata = tensors_of(file)
        changed = change(tensors.get(name, torch.zeros(1)))
        if changed is None:
            del tensors[name]
        else:
            tensors[name] = changed.contiguous()
        save_file(tensors, file, metadata)

    return harm


def _metadata_harm(name: str, text: str | None) -> Harm:
    def harm(file: Path) -> None:
        tensors, metadata = tensors_of(file)
        assert metadata
        rest = {key: said for key, said in metadata.items() if key != name}
        save_file(tensors, file, rest if text is None else {**rest, name: text})

    return harm


def filled(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda t: torch.full_like(t, value)


def one(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(t: torch.Tensor) -> torch.Tensor:
        t = t.clone()
        t.view(-1)[-1] = value
        return t

    return change


CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor | None]] = {
    "missing": lambda t: None,
    "of no dimension": lambda t: t.sum(),
    "flat": lambda t: t.reshape(-1),
    "of one row more": lambda t: torch.cat([t, t[-1:]]),
    "of one row fewer": lambda t: t[:-1],
    "of a column more": lambda t: torch.cat([t, t[..., -1:]], dim=-1),
    "of no rows": lambda t: t[:0],
    "of no columns": lambda t: t[..., :0],
    "of three dimensions": lambda t: t[None],
    "transposed": lambda t: t.T if t.ndim == 2 else t[:, None],
    "NaN throughout": filled(math.nan),
    "infinite throughout": filled(math.inf),
    "one NaN": one(math.nan),
    "one infinite": one(-math.inf),
    "negative": filled(-1.0),
    "fractions": filled(0.5),
    "zero": filled(0.0),
    "enormous": filled(1e30),
    "bfloat16": lambda t: t.to(torch.bfloat16),
    "half": lambda t: t.half(),
    "complex": lambda t: t.to(torch.complex64),
    "int64": lambda t: t.to(torch.int64),
    "int8": lambda t: t.to(torch.int8),
    "bool": lambda t: t.bool(),
    "float64": lambda t: t.double(),
    "float32": lambda t: t.float(),
    "float8": lambda t: t.to(torch.float8_e4m3fn),
}


def _header_harm(change: Callable[[dict[str, Any]], object]) -> Harm:
    def harm(file: Path) -> None:
        data = file.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        said = json.loads(data[8 : 8 + length])
        now = change(said)
        text = json.dumps(said if now is None else now).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return harm


HEADERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "says of 10^12 rows": lambda h: h["W"].update(shape=[10**12, 4]),
    "says of 10^12 rows, and bytes": lambda h: h["W"].update(
        shape=[10**12, 4], data_offsets=[h["W"]["data_offsets"][0], h["W"]["data_offsets"][0] + 16 * 10**12]
    ),
    "says of 10^12 rows of no columns": lambda h: h["W"].update(shape=[10**12, 0]),
    "says of negative rows": lambda h: h["W"].update(shape=[-1, 4]),
    "says of 10^30 rows": lambda h: h["W"].update(shape=[10**30, 4]),
    "says of many dimensions": lambda h: h["W"].update(shape=[1] * 100_000),
    "says of huge dimensions": lambda h: h["W"].update(shape=[2**52] * 20_000),
    "says of rows in text": lambda h: h["W"].update(shape=["1", "4"]),
    "says of one number of rows": lambda h: h["W"].update(shape=7),
    "says of half a row": lambda h: h["W"].update(shape=[0.5, 4]),
    "says of an unknown type": lambda h: h["W"].update(dtype="F7"),
    "says of no type": lambda h: h["W"].pop("dtype"),
    "says of a type in a list": lambda h: h["W"].update(dtype=["F32"]),
    "says of overlaps": lambda h: h["b"].update(data_offsets=h["W"]["data_offsets"]),
    "says of one offset": lambda h: h["W"].update(data_offsets=[0]),
    "says of offsets backwards": lambda h: h["W"].update(data_offsets=h["W"]["data_offsets"][::-1]),
    "says of nothing": lambda h: {},
    "is a list": lambda h: [1],
    "is text": lambda h: "x",
    "has metadata of numbers": lambda h: h["__metadata__"].update(lowest=3),
    "has metadata in a list": lambda h: h.update(__metadata__=[]),
    "has a tensor of text": lambda h: h.update(W="x"),
    "has a million tensors": lambda h: h.update(
        {f"t{k}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for k in range(100_000)}
    ),
    "has a long name": lambda h: h.update({"x" * 10**6: h.pop("W")}),
}


def of_npy(file: Path) -> dict[str, Harm]:
    """An array of other types, shapes and numbers; a header that lies."""
    arrays: dict[str, Callable[[np.ndarray[Any, Any]], Any]] = {
        "of objects": lambda a: a.astype(object),
        "of int64": lambda a: a.astype(np.int64),
        "of int32": lambda a: a.astype(np.int32),
        "of float64": lambda a: a.astype(np.float64),
        "of float16": lambda a: a.astype(np.float16),
        "of complex": lambda a: a.astype(np.complex64),
        "of bool": lambda a: a.astype(bool),
        "of text": lambda a: a.astype(str),
        "of times": lambda a: a.astype(np.int64).astype("M8[s]"),
        "of records": lambda a: np.rec.fromarrays([a, a]),
        "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
        "of two dimensions": lambda a: a[None],
        "a column": lambda a: np.asfortranarray(a[:, None]),
        "of no dimension": lambda a: a[0],
        "empty": lambda a: a[:0],
        "shorter": lambda a: a[:-1],
        "longer": lambda a: np.append(a, a[-1]),
        "descending": lambda a: a[::-1].copy(),
        "negative": lambda a: a - a.dtype.type(10),
        "large": lambda a: a + a.dtype.type(10**9),
        "the largest": lambda a: np.full_like(a, 3e38 if a.dtype.kind == "f" else np.iinfo(a.dtype).max),
        "zero": np.zeros_like,
        "NaN": lambda a: a * a.dtype.type(np.nan if a.dtype.kind == "f" else -1),
        "one NaN": lambda a: np.append(a[:-1], a.dtype.type(np.nan if a.dtype.kind == "f" else 2**30)),
        "one infinite": lambda a: np.append(a[:-1], a.dtype.type(-np.inf if a.dtype.kind == "f" else -1)),
        "a spike within": lambda a: np.concatenate([a[:1], [a.dtype.type(10**6)], a[2:]]).astype(a.dtype),
    }  # fmt: skip
    found: dict[str, Harm] = {}
    for what, change in arrays.items():

        def harm(path: Path, change: Callable[[Any], Any] = change) -> None:
            with np.errstate(all="ignore"):
                now = change(np.load(path))
            with path.open("wb") as opened:
                np.save(opened, now, allow_pickle=True)

        found[what] = harm
    for what, header in NPY_HEADERS.items():
        found[f"header {what}"] = _npy_header(header)
    return found


def _npy_header(text: str) -> Harm:
    def harm(path: Path) -> None:
        data = path.read_bytes()
        length = int.from_bytes(data[8:10], "little")
        head = text.encode().ljust(118) + b"\n"
        path.write_bytes(data[:8] + len(head).to_bytes(2, "little") + head + data[10 + length :])

    return harm


NPY_HEADERS = {
    "says of 10^12": "{'descr': '<i4', 'fortran_order': False, 'shape': (1000000000000,), }",
    "says of negative": "{'descr': '<i4', 'fortran_order': False, 'shape': (-1,), }",
    "says of 10^40": f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({10**40},), }}",
    "is code": "__import__('os').system('touch exploded')",
    "is nested": "(" * 5000,
    "negates": "-" * 5000 + "1",
    "is empty": "",
    "has no shape": "{'descr': '<i4', 'fortran_order': False, }",
    "has a strange type": "{'descr': [('a', '<i4', (1000000000,))], 'fortran_order': False, 'shape': (1,), }",
    "has objects": "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
}


def of_ids(path: Path) -> dict[str, Harm]:
    """An id map of other types and columns, of null and equal ids, of another length."""
    ids = pl.read_parquet(path)["id"]
    n = len(ids)
    series: dict[str, Callable[[], pl.DataFrame]] = {
        "of lists": lambda: pl.DataFrame({"id": [[k] for k in range(n)]}),
        "of structs": lambda: pl.DataFrame({"id": [{"a": k} for k in range(n)]}),
        "of categories": lambda: ids.cast(pl.String).cast(pl.Categorical).to_frame(),
        "of floats": lambda: ids.cast(pl.Float64, strict=False).fill_null(0.5).to_frame(),
        "of bools": lambda: pl.DataFrame({"id": [True] * n}),
        "of dates": lambda: pl.DataFrame({"id": pl.int_range(n, eager=True).cast(pl.Date)}),
        "of decimals": lambda: pl.DataFrame({"id": pl.int_range(n, eager=True).cast(pl.Decimal(10, 2))}),
        "of binary": lambda: pl.DataFrame({"id": [b"\xff"] * n}),
        "of nulls": lambda: pl.DataFrame({"id": [None] * n}),
        "with a null": lambda: pl.DataFrame({"id": [*ids.to_list()[:-1], None]}),
        "of equal ones": lambda: pl.DataFrame({"id": [7] * n}),
        "descending": lambda: ids.reverse().to_frame(),
        "shorter": ids[:-1].to_frame,
        "longer": lambda: pl.DataFrame({"id": range(n + 1)}),
        "empty": ids[:0].to_frame,
        "with two columns": lambda: pl.DataFrame({"id": ids, "other": ids}),
        "with another column": lambda: pl.DataFrame({"key": ids}),
        "with no column": pl.DataFrame,
        "of other ids": lambda: pl.DataFrame({"id": range(10**6, 10**6 + n)}),
        "of text": lambda: pl.DataFrame({"id": [f"x{k:04}" for k in range(n)]}),
        "of ten million equal rows": lambda: pl.repeat(7, 10**7, eager=True).to_frame("id"),
    }  # fmt: skip
    return {name: lambda file, make=make: make().write_parquet(file) for name, make in series.items()}  # type: ignore[misc]
