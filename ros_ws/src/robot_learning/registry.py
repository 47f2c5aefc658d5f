"""A name-to-class table with errors that list what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from robot_learning.errors import ConfigError

T = TypeVar('T')


class Registry(Generic[T]):
    """Maps names to classes or functions of one kind, filled by decorators."""

    def __init__(self, kind: str):
        self._kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its target under `name`."""

        def decorate(entry: T) -> T:
            if name in self._entries:
                raise ConfigError(f'{self._kind} {name!r}: registered twice. Choose another name.')
            self._entries[name] = entry
            return entry

        return decorate

    def get(self, name: str) -> T:
        """Return the entry called `name`.

        Raises:
            ConfigError: there is none; names those that exist.
        """
        try:
            return self._entries[name]
        except KeyError:
            known = ', '.join(sorted(self._entries)) or 'none'
            raise ConfigError(f'{self._kind} {name!r}: unknown. Choose one of: {known}.') from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))
