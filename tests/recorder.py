"""A `Progress` that remembers what it was told."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Task:
    """One piece of work: what was announced, and every amount that was reported."""

    name: str
    total: int
    unit: str
    expected_seconds: float | None = None
    amounts: list[int] = field(default_factory=list)
    on_advance: Callable[[int], None] = lambda done: None

    def advance(self, amount: int, note: str = "") -> None:
        self.amounts.append(amount)
        self.on_advance(sum(self.amounts))

    def expect(self, seconds: float) -> None:
        self.expected_seconds = seconds


class Recorder:
    """Remembers every task; `on_advance` is called with the amount done so far."""

    def __init__(self, on_advance: Callable[[int], None] = lambda done: None) -> None:
        self.tasks: list[Task] = []
        self.on_advance = on_advance

    def begin(self, name: str, total: int, unit: str) -> Task:
        self.tasks.append(Task(name, total, unit, on_advance=self.on_advance))
        return self.tasks[-1]
