"""The README.md of a student: what it knows, from which teachers and texts, and how it was trained."""

import json
from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCardData

from muki_pipeline.config import Student


def model_card(
    settings: Student, facts: Mapping[str, Any], losses: Mapping[str, float], examples: Mapping[str, str]
) -> str:
    """The card's text.

    Args:
        settings: The student's training.
        facts: The golden table's manifest.
        losses: `loss` and `validation_loss` at the end of the training, nats.
        examples: Texts of the corpus that may be quoted, and the label that each was taught.
    """
    teachers = "\n".join(
        f"| {name} | `{teacher['digest'][:16]}` | {', '.join(teacher['labels'])} |"
        for name, teacher in facts["teachers"].items()
    )
    measured = "\n".join(f"| {name.replace('_', ' ')} | {value:.4f} |" for name, value in losses.items())
    routing = facts.get("routing")
    trust = (
        f"On the average text the rule gave the teacher that it chose a probability of {routing['mean_posterior']:.2f} "
        "of being the right one. That is a belief, not a measurement."
        if routing
        else "The rule that chose among the teachers gives no probabilities."
    )
    quoted = "".join(f"\n> {' '.join(text.split())[:200]}\n\n{label}\n" for text, label in examples.items())
    section = f"\n## Examples\n{quoted}" if examples else ""
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["knowledge-integration", "knowledge-distillation", "muki"],
    )
    all_settings = {key: facts[key] for key in ("label_settings", "integrate")} | {"student": settings.model_dump()}
    return f"""---
{data.to_yaml()}
---

# A classifier of {len(facts["labels"])} labels, integrated from {len(facts["teachers"])} teachers

It was trained without labelled data, on its teachers' answers to {facts["rows"]:,} unlabelled texts, with
[MUKI](https://arxiv.org/abs/2210.05230): Monte-Carlo dropout tells which teacher to trust on which text.

```python
from transformers import pipeline

classify = pipeline("text-classification", "data/student", top_k=None, truncation=True)
```

## Teachers

| teacher | digest of its files | labels |
|---|---|---|
{teachers}

A label that several teachers know is taught by whichever of them the rule trusts on a text.

## Use and limits

For texts like those of the corpus, read up to {settings.max_length} tokens. Every text gets one of the labels, even one
that belongs to none of them. The student repeats its teachers' mistakes, and those of the rule that chose among them.
{trust} No gold label was used, so no accuracy stands here: measure on texts of your own.

{section}
## Data and settings

Corpus: {facts["rows"]:,} texts, digest `{facts["corpus_digest"][:16]}`.

```json
{json.dumps(all_settings, indent=1)}
```

## At the end of training

| measure | nats |
|---|---|
{measured}
"""
