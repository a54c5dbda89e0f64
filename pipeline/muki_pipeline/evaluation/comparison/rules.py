"""The rules that `compare` compares: what each rule changes in the `integrate` block, and its temperature T.

To add one, add a line. The student of each rule is trained from its own golden table; no teacher runs again.
"""

from typing import Any

SUPERVISED = "supervised"
"""Not a rule of integration: a student of the corpus's gold labels, the upper bound."""

_MUKI: dict[str, Any] = {"teacher_distribution": "deterministic", "reweight": "margin"}
_PLAIN: dict[str, Any] = {"teacher_distribution": "deterministic", "reweight": "none"}

RULES: dict[str, tuple[dict[str, Any], float]] = {
    # The paper's, and what it compares itself with (docs/method.md); vanilla distillation and UHC at its T = 5.
    "muki": ({**_MUKI, "strategy": "soft", "scorer": "mc_entropy"}, 1.0),
    "muki_hard": ({**_MUKI, "strategy": "hard", "scorer": "mc_entropy"}, 1.0),
    "entropy": ({**_MUKI, "strategy": "soft", "scorer": "entropy"}, 1.0),
    "concat": ({**_PLAIN, "strategy": "concat", "scorer": "energy"}, 5.0),
    "uhc": ({**_PLAIN, "strategy": "uhc", "scorer": "mc_entropy"}, 5.0),
    # They need label.features.
    "cfl": ({**_PLAIN, "strategy": "cfl", "scorer": "energy"}, 5.0),
    "dfa": ({**_PLAIN, "strategy": "dfa", "scorer": "energy"}, 5.0),
    # Other measures of a teacher's confidence.
    "mutual_information": ({**_MUKI, "strategy": "soft", "scorer": "mutual_information"}, 1.0),
    "max_probability": ({**_MUKI, "strategy": "soft", "scorer": "max_probability"}, 1.0),
    "mc_max_probability": ({**_MUKI, "strategy": "soft", "scorer": "mc_max_probability"}, 1.0),
    "energy": ({**_MUKI, "strategy": "soft", "scorer": "energy"}, 1.0),
    # Posteriors, fitted to the unlabelled corpus.
    "calibrated": ({**_MUKI, "strategy": "posterior", "scorer": "calibrated"}, 1.0),
    "gate": ({**_MUKI, "strategy": "posterior", "scorer": "gate"}, 1.0),
}
