"""The factors in the files that other programs read."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cofi_dist.errors import RunError
from cofi_dist.files import whole_file
from cofi_dist.model.model import Model, save_tensors


def export(model: Model, form: str, output: Path, *, replace: bool) -> list[Path]:
    """Write X (num_items, n), W (num_users, n) and b (1, num_users).

    Args:
        model: what to write.
        form: `pt` writes X.pt, W.pt and b.pt, plain tensors as the notebook saves them; `npz` and
            `safetensors` one file, which holds item_means too.
        output: directory, made if it isn't there.
        replace: overwrite files of these names.

    Returns:
        The files written; each appears whole or not at all.

    Raises:
        RunError: a file exists and `replace` is false, or can't be written.
    """
    tensors = {"X": model.factors.X, "W": model.factors.W, "b": model.factors.b}
    with_means = {**tensors, "item_means": model.item_means}
    writers: dict[str, Callable[[Path], None]]
    if form == "pt":
        writers = {f"{name}.pt": partial(_save_pt, t) for name, t in tensors.items()}
    elif form == "npz":
        arrays = {name: t.numpy() for name, t in with_means.items()}

        def save_npz(path: Path) -> None:
            with path.open("wb") as file:  # given a name, numpy would add .npz to it
                np.savez(file, allow_pickle=False, **arrays)

        writers = {"factors.npz": save_npz}
    else:
        writers = {"factors.safetensors": lambda path: save_tensors(with_means, path)}
    files = [output / name for name in writers]
    for file in files:
        if file.exists() and not replace:
            raise RunError(f"{file}: already exists; give another --output, or --replace")
    for file, write in zip(files, writers.values(), strict=True):
        with whole_file(file) as temporary:
            write(temporary)
    return files


def _save_pt(tensor: torch.Tensor, path: Path) -> None:
    try:
        torch.save(tensor, path)
    except RuntimeError as error:  # what torch makes of a full disk
        raise OSError(str(error)) from error
