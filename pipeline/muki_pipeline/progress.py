"""How long-running work reports its progress. The library reports to a `Progress`; only the command line draws bars."""

from typing import Protocol


class Task(Protocol):
    """One piece of work under way."""

    def advance(self, amount: int, note: str = "") -> None:
        """Tell that `amount` more units are done; `note` is a short remark to show beside the bar."""

    def expect(self, seconds: float) -> None:
        """Tell about how long the whole will take, as soon as that is known."""


class Progress(Protocol):
    """Receives each piece of work before it starts."""

    def begin(self, name: str, total: int, unit: str) -> Task:
        """Tell that a piece of work begins; before libraries or networks that it needs are loaded, which takes seconds.

        Args:
            name: What is done, for people.
            total: How many units it has.
            unit: What a unit is called, in the plural.
        """


class _Silent:
    """Reports to nobody: a `Progress` and its own `Task`."""

    def begin(self, name: str, total: int, unit: str) -> Task:
        return self

    def advance(self, amount: int, note: str = "") -> None:
        pass

    def expect(self, seconds: float) -> None:
        pass


SILENT = _Silent()
"""The default: nothing is shown."""
