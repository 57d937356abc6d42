"""The numbers are Philox's, whichever of them are drawn at once, uniform and independent."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from cofi_dist.kernels.cpu import philox

SAMPLE = 2**20  # numbers; their mean has a standard error of 0.00056 of the bound
SEED = 1


def words_reference(counter: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """The words of counters (n, 4), in integers, as the paper has it."""
    c0, c1, c2, c3 = counter.T.astype(np.uint64)
    k0, k1 = key
    low, bits = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        first, second = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c2 = (second >> bits) ^ c1 ^ np.uint64(k0), (first >> bits) ^ c3 ^ np.uint64(k1)
        c1, c3 = second & low, first & low
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return np.stack([c0, c1, c2, c3], axis=1)


def uniform_reference(seed: int, stream: int, first: int, bound: float, count: int) -> NDArray[np.float64]:
    numbers = [first + n for n in range(count)]
    blocks = [[n // 4 % 2**32, n // 4 >> 32, stream, 0] for n in numbers]
    words = words_reference(np.array(blocks, np.uint64).reshape(-1, 4), (seed % 2**32, seed >> 32))
    chosen = words[np.arange(count), [n % 4 for n in numbers]].astype(np.float64)
    signed = np.where(chosen < 2**31, chosen, chosen - 2**32)
    return (signed + 0.5) * (bound / 2**31)


def drawn(
    seed: int = SEED, stream: int = 0, first: int = 0, count: int = SAMPLE, bound: float = 1.0
) -> NDArray[np.float64]:
    out = np.empty(count)
    philox.uniform(seed, stream, first, bound, out)
    return out


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_the_reference_gives_the_words_published_with_the_generator(
    counter: str, key: str, words: str
) -> None:
    """Random123's kat_vectors, lines `philox4x32 10`."""
    given, want = (
        np.array([[int(word, 16) for word in text.split()]], np.uint64) for text in (counter, words)
    )
    k0, k1 = (int(word, 16) for word in key.split())
    np.testing.assert_array_equal(words_reference(given, (k0, k1)), want)


@given(
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**62),
    st.integers(0, 80),
    st.integers(1, 500),
)
@example(7, 1, 2**34 - 10, 20, 8)  # the block's number takes more than 32 bits from here on
@example(2**63 - 1, 2**32 - 1, 5, 2, 1)  # within a block
def test_the_bits_are_those_of_the_reference(seed: int, stream: int, first: int, count: int, K: int) -> None:
    bound = 1 / math.sqrt(K)
    want = uniform_reference(seed, stream, first, bound, count)
    np.testing.assert_array_equal(drawn(seed, stream, first, count, bound), want)
    narrow = np.empty(count, np.float32)
    philox.uniform(seed, stream, first, bound, narrow)
    np.testing.assert_array_equal(narrow, want.astype(np.float32))


@given(st.integers(0, 100), st.lists(st.integers(0, 60), max_size=6))
def test_any_cut_gives_the_same_bits(first: int, sizes: list[int]) -> None:
    whole, start = drawn(first=first, count=sum(sizes)), 0
    for size in sizes:
        np.testing.assert_array_equal(drawn(first=first + start, count=size), whole[start : start + size])
        start += size


@pytest.mark.parametrize(("seed", "stream"), [(1, 0), (1, 1), (2, 0), (2**63 - 1, 2)])
def test_the_numbers_are_uniform(seed: int, stream: int) -> None:
    found = drawn(seed, stream)
    assert stats.kstest(found, "uniform", (-1, 2)).pvalue > 1e-3
    # moments, against the standard errors of their means
    for power in range(1, 7):
        want = 0.0 if power % 2 else 1 / (power + 1)
        error = math.sqrt((1 / (2 * power + 1) - want**2) / SAMPLE)
        assert abs(np.mean(found**power) - want) < 4 * error, power


def test_the_tails_are_as_long_as_they_should_be() -> None:
    found = drawn()
    assert np.abs(found).max() < 1
    for tail in (2.0**-10, 2.0**-14):
        for beyond in (found > 1 - 2 * tail, found < 2 * tail - 1):
            assert abs(beyond.sum() - SAMPLE * tail) < 4 * math.sqrt(SAMPLE * tail)
    assert np.abs(found).min() < 1e-5
    assert not (found == 0).any()


def test_every_bit_of_a_word_is_as_often_set_as_not() -> None:
    word = (drawn() * 2**31 - 0.5).astype(np.int64)
    for bit in range(32):
        assert abs(np.mean(word >> bit & 1) - 0.5) < 4 * 0.5 / math.sqrt(SAMPLE), bit


def assert_independent(one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    """No correlation, and all of 32 x 32 cells of the square equally often hit."""
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / math.sqrt(len(one))
    cells, *_ = np.histogram2d(one, other, bins=32, range=[(-1, 1), (-1, 1)])
    assert stats.chisquare(cells.ravel()).pvalue > 1e-3


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8, 100, 128])
def test_columns_and_rows_are_independent(lag: int) -> None:
    """Number n and n + lag: a row's neighbours, or, for a lag of K, a column's."""
    found = drawn()
    assert_independent(found[:-lag], found[lag:])


def test_seeds_and_streams_are_independent() -> None:
    for other in (drawn(seed=SEED + 1), drawn(seed=SEED + 2**32), drawn(stream=1), drawn(seed=2, stream=1)):
        assert_independent(drawn(), other)
