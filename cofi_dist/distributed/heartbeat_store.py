"""Let heartbeats lie in a store of torch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist
from torch.distributed import Store  # type: ignore[attr-defined]


class HeartbeatStore:
    """Adapt a torch store to what a Heartbeat needs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def set(self, key: str, value: str) -> None:
        with self._connection_errors():
            self._store.set(key, value)

    def get(self, key: str) -> bytes:
        with self._connection_errors():
            return self._store.get(key)

    @contextmanager
    def _connection_errors(self) -> Iterator[None]:
        try:
            yield
        except dist.DistNetworkError as error:  # not asked again, as torch would log each failure at length
            raise ConnectionError(str(error)) from None
