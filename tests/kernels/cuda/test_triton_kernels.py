"""The kernels compile for a GPU, also where none is: the interpreter, which other tests use, is laxer."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

COMPILE = r"""
import re
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from cofi_dist.kernels.cuda.triton_kernels import add_pieces, sum_piece
from cofi_dist.kernels.cuda.triton_rows import add_gram, add_gram_matrices, add_squares, dot_rows

def build(kernel, pointers, constants, **options):
    names = kernel.arg_names
    signature = {name: pointers.get(name, "constexpr") for name in names}
    constants = {(names.index(name),): value for name, value in constants.items() if name in names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    return compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]

for kind in ("*fp32", "*fp64"):
    pointers = {"row": "*i32", "start": "*i64", "piece_start": "*i64", "indices": "*i32"}
    pointers |= dict.fromkeys(("values", "weights", "unknown_weight", "fixed", "fixed_bias"), kind)
    pointers |= dict.fromkeys(("solved", "solved_bias", "sums", "sums_b", "out", "out_b"), kind)
    pointers |= {"halves": "*fp64", "half": "*fp64"}
    constants = {"K": 20, "BLOCK_K": 32, "BLOCK_N": 4, "IS_ERROR": True, "WITH_SUMS": True}
    constants |= {"AT_ONCE": 1, "GOES_ON": False}
    build(add_pieces, pointers, constants)
    pointers |= dict.fromkeys(("A", "B", "dots", "features", "bias", "gram"), kind) | {"num_rows": "i32"}
    build(dot_rows, pointers, constants)
    for constant in (0, 1):
        build(add_gram, pointers, {**constants, "BLOCK_R": 4, "CONSTANT": constant})
    alone = {"num_warps": 1, "enable_fp_fusion": False}
    summed = pointers | {"sums": "*fp64", "rows": kind, "weight": kind}
    summed |= dict.fromkeys(("first", "num_rows", "num_items"), "i32")
    for kernel in (add_squares, add_gram_matrices):
        assert "fma" not in build(kernel, summed, {"K": 20, "BLOCK": 32, "AT_ONCE": 8}, **alone)
    for weights in ({"HAS_WEIGHTS": False}, {"HAS_WEIGHTS": True}):
        for is_error in (True, False):
            text = build(
                sum_piece,
                pointers,
                {**constants, **weights, "VALUE_STRIDE": 1, "WEIGHT_STRIDE": 0, "IS_ERROR": is_error},
            )
            # a sum of -0 is stored as 0
            assert len(re.findall(r"add\.f(32|64).*, 0[fd]0+;", text)) == 2
            # what goes on multiplies and adds apart, as all on its own
            if is_error:
                given = constants | weights | {"VALUE_STRIDE": 1, "WEIGHT_STRIDE": 0}
                given |= {"BLOCK_N": 1, "AT_ONCE": 8, "GOES_ON": True}
                assert "fma" not in build(sum_piece, pointers, given, **alone)
            # kernels of ratings without weights do not even look at where weights would be
            assert ("sum_piece_param_4]" in text) == weights["HAS_WEIGHTS"]
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not made for this platform")
def test_the_kernels_compile_for_a_gpu_and_without_weights_none_are_read(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environ["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
