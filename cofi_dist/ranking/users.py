"""Choose the users whose lists are judged, and of how many they are made at once."""

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.splits import splitmix64

# The most listed items in a batch, 128 MB, and the most users. Neither depends on the number of ranks or
# threads, so that the batches, and with them the figures, are the same on any number of them.
MAX_BATCH_LISTED, MAX_BATCH_USERS = 2**22, 2**12

# The most scores that one validation computes, if nothing else is asked for.
MAX_VALIDATION_SCORES = 2**28

SAMPLE_SEED = np.uint64(0x7573657273)  # "users"; any fixed number


def batch_size(list_length: int) -> int:
    """Return of how many users the lists are made at once."""
    return max(1, min(MAX_BATCH_USERS, MAX_BATCH_LISTED // max(list_length, 1)))


def default_sample(num_users: int, num_items: int) -> int | None:
    """Return how many users validation judges if the config does not say; None for all."""
    if num_users * num_items <= MAX_VALIDATION_SCORES:
        return None
    return max(1, MAX_VALIDATION_SCORES // num_items)


def is_sampled(users: NDArray[np.int64], num_users: int, sample: int | None) -> NDArray[np.bool_]:
    """Tell which users belong to the sample: the same ones, whoever asks.

    A user's hash decides, so the number of chosen users is only about that which is asked for.

    Args:
        users: rows of W.
        num_users: of the whole data.
        sample: about how many of them are chosen; None for all.
    """
    if sample is None or sample >= num_users:
        return np.ones(len(users), np.bool_)
    hashes = splitmix64(splitmix64(np.full(len(users), SAMPLE_SEED)) ^ users.astype(np.uint64))
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53 < sample / num_users
