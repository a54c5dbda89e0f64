"""What labelling a shard gives back to whoever counts and publishes."""

from dataclasses import dataclass
from typing import NamedTuple

from muki_pipeline.store.store import Shard


@dataclass
class Throughput:
    """What went through the network.

    Attributes:
        texts: Texts, counted once for every pass.
        tokens: Their tokens.
        positions: The same with the batches' padding.
        seconds: Time in the network; unknown on a GPU, which works asynchronously.
    """

    texts: int = 0
    tokens: int = 0
    positions: int = 0
    seconds: float = 0.0

    def add(self, other: "Throughput") -> None:
        """Count what another labeller did, too."""
        self.texts += other.texts
        self.tokens += other.tokens
        self.positions += other.positions
        self.seconds += other.seconds


class Labelled(NamedTuple):
    """A finished shard: its labels, what went through the network, and features where the settings ask for them."""

    labels: Shard
    throughput: Throughput
    features: Shard | None
