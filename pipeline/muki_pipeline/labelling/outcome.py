"""What labelling a shard gives back to whoever counts and publishes."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from muki_pipeline.store.store import Shard

_UNIFORM = 0.9
"""From this share of the greatest entropy on, an answer counts as close to uniform. Trained teachers of 2 to 140 labels
are at 0.7 at most on a tenth of the texts; those with a tenth of the training are at 0.99 on all."""

NEARLY_ALL = 0.99
"""A teacher of whose answers so large a share is close to uniform says almost nothing."""


def close_to_uniform(labels: int) -> float:
    """The entropy from which on an answer says almost nothing, in nats."""
    return _UNIFORM * math.log(labels)


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
