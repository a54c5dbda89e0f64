"""The README.md of a student: what it knows, from which teachers and texts, and how it was trained."""

import json
from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCardData

from pipeline.config import Student


def model_card(settings: Student, facts: Mapping[str, Any], losses: Mapping[str, float]) -> str:
    """The card's text.

    Args:
        settings: The student's training.
        facts: The golden table's manifest.
        losses: `loss` and `validation_loss` at the end of the training, nats.
    """
    teachers = "\n".join(
        f"| {name} | `{teacher['digest'][:16]}` | {', '.join(teacher['labels'])} |"
        for name, teacher in facts["teachers"].items()
    )
    measured = "\n".join(f"| {name.replace('_', ' ')} | {value:.4f} |" for name, value in losses.items())
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

classify = pipeline("text-classification", "data/student", top_k=None)
```

## Teachers

| teacher | digest of its files | labels |
|---|---|---|
{teachers}

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
