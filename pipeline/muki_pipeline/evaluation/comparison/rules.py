"""The rules that `compare` compares: what each rule changes in the `integrate` block, and its temperature T.

Every scorer is one; to add another, add a line. The student of each rule is trained from its own golden table; no
teacher runs again.
"""

from typing import Any

from muki_pipeline.config import POSTERIORS
from muki_pipeline.routing.scorers import SCORERS

SUPERVISED = "supervised"
"""Not a rule of integration: a student of the corpus's gold labels, the upper bound."""

_MUKI: dict[str, Any] = {"teacher_distribution": "deterministic", "reweight": "margin"}
_PLAIN: dict[str, Any] = {"teacher_distribution": "deterministic", "reweight": "none"}

RULES: dict[str, tuple[dict[str, Any], float]] = {
    # The paper's, and what it compares itself with (docs/method.md); vanilla distillation and UHC at its T = 5.
    "muki": ({**_MUKI, "strategy": "soft", "scorer": "mc_entropy"}, 1.0),
    "muki_hard": ({**_MUKI, "strategy": "hard", "scorer": "mc_entropy"}, 1.0),
    "concat": ({**_PLAIN, "strategy": "concat", "scorer": "energy"}, 5.0),
    "uhc": ({**_PLAIN, "strategy": "uhc", "scorer": "mc_entropy"}, 5.0),
    # They need label.features.
    "cfl": ({**_PLAIN, "strategy": "cfl", "scorer": "energy"}, 5.0),
    "dfa": ({**_PLAIN, "strategy": "dfa", "scorer": "energy"}, 5.0),
    # The paper's rule with every other scorer (`mc_entropy` is `muki`); a posterior needs no softmax.
    **{
        name: ({**_MUKI, "strategy": "posterior" if name in POSTERIORS else "soft", "scorer": name}, 1.0)
        for name in SCORERS
        if name != "mc_entropy"
    },
}
