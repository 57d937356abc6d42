"""Draw uniform numbers by a counter, compiled by numba: number n is a function of the key and of n alone.

The generator is Philox4x32 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
2011). Its words are integers, which every processor computes alike. What is done with them are single
operations on float64 numbers, rounded as IEEE 754 says, so the numbers are the same on every processor too.
"""

import numpy as np
from numpy.typing import NDArray

from cofi_dist.kernels.cpu.jit import compiled

ROUNDS, WORDS = 10, 4
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
KEY_STEPS = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
WORD_BITS = np.uint64(32)


def uniform(seed: int, stream: int, first: int, bound: float, out: NDArray[np.floating]) -> None:
    """Fill a flat array with numbers `first` and following of a stream, uniform between -bound and bound.

    Several threads may call it at the same time, and then run at the same time.

    Args:
        seed: from 0 to 2^64 - 1.
        stream: from 0 to 2^32 - 1; streams of one seed share no block of words.
        first: the number of the first entry, from 0.
        bound: of the absolute values, in float64.
        out: float64, or float32 that is rounded from it.
    """
    c2, unit = np.uint32(stream), np.float64(bound) / 2**31
    key = np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)
    head = min(-first % WORDS, len(out))
    tail = (len(out) - head) % WORDS
    _fill(key, c2, (first + head) // WORDS, unit, out[head : len(out) - tail])
    for start, stop in ((0, head), (len(out) - tail, len(out))):  # parts of a block
        if start < stop:
            block, place = np.empty(WORDS, out.dtype), (first + start) % WORDS
            _fill(key, c2, (first + start) // WORDS, unit, block)
            out[start:stop] = block[place : place + stop - start]


@compiled(inline="always")
def words(c0, c1, c2, c3, k0, k1):
    """Return the four words of a counter (c0, c1, c2, c3) under a key (k0, k1); all are uint32."""
    for _ in range(ROUNDS):
        first, second = np.uint64(c0) * MULTIPLIERS[0], np.uint64(c2) * MULTIPLIERS[1]
        # numba widens the result of any operation to 64 bits
        c0 = np.uint32(np.uint32(second >> WORD_BITS) ^ c1 ^ k0)
        c2 = np.uint32(np.uint32(first >> WORD_BITS) ^ c3 ^ k1)
        c1, c3 = np.uint32(second), np.uint32(first)
        k0, k1 = np.uint32(k0 + KEY_STEPS[0]), np.uint32(k1 + KEY_STEPS[1])
    return c0, c1, c2, c3


@compiled(inline="always")
def _scaled(word, unit):
    """Return a word as one of 2^32 numbers at equal distances around 0, the nearest at half a unit."""
    return (np.float64(np.int32(word)) + 0.5) * unit


# Without the contraction that other loops allow, though nothing here could be contracted.
@compiled(nogil=True, error_model="numpy")
def _fill(key, stream, first_block, unit, out):
    """Fill an array whose length is a multiple of four with the words of blocks, scaled."""
    for i in range(out.shape[0] // WORDS):
        number = np.uint64(first_block + i)
        w0, w1, w2, w3 = words(
            np.uint32(number), np.uint32(number >> WORD_BITS), stream, np.uint32(0), key[0], key[1]
        )
        out[WORDS * i] = _scaled(w0, unit)
        out[WORDS * i + 1] = _scaled(w1, unit)
        out[WORDS * i + 2] = _scaled(w2, unit)
        out[WORDS * i + 3] = _scaled(w3, unit)
