"""A small web service over an exported student; it needs FastAPI and ONNX Runtime, not torch.

    muki-pipeline export --onnx onnx
    STUDENT=onnx uvicorn examples.serve:app

`POST /classify {"texts": ["..."]}`, `GET /labels`, `GET /health`. The extra `serve` installs what it needs.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field
from tokenizers import Tokenizer

MOST_TEXTS, MOST_CHARACTERS = 256, 20_000


@dataclass(frozen=True)
class Classifier:
    """An exported student, loaded."""

    session: onnxruntime.InferenceSession
    tokenizer: Tokenizer
    labels: list[str]

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Load the folder that `muki-pipeline export --onnx` wrote."""
        facts = json.loads((folder / "labels.json").read_text())
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # What a caller writes is text: a special token in it ends nothing.
        tokenizer.encode_special_tokens = True
        tokenizer.enable_truncation(facts["max_length"])
        tokenizer.enable_padding(pad_id=json.loads((folder / "config.json").read_text())["pad_token_id"])
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        return cls(session, tokenizer, facts["labels"])

    def probabilities(self, texts: list[str]) -> np.ndarray:
        """`[texts, labels]`."""
        encoded = self.tokenizer.encode_batch(texts)
        values = {
            "input_ids": [each.ids for each in encoded],
            "attention_mask": [each.attention_mask for each in encoded],
            "token_type_ids": [each.type_ids for each in encoded],
        }
        inputs = {each.name: np.array(values[each.name], dtype=np.int64) for each in self.session.get_inputs()}
        [logits] = self.session.run(["logits"], inputs)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)


class Texts(BaseModel):
    """What is asked."""

    texts: Annotated[
        list[Annotated[str, Field(max_length=MOST_CHARACTERS)]], Field(min_length=1, max_length=MOST_TEXTS)
    ]


class Answer(BaseModel):
    """The best label of a text."""

    label: str
    probability: float


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the student before the first request."""
    app.state.classifier = Classifier.load(Path(os.environ.get("STUDENT", "onnx")))
    yield


app = FastAPI(title="A merged classifier", lifespan=lifespan)


@app.post("/classify")
def classify(asked: Texts, request: Request) -> list[Answer]:
    """The label of each text, in the order of the texts."""
    classifier: Classifier = request.app.state.classifier
    probs = classifier.probabilities(asked.texts)
    best = probs.argmax(axis=1)
    return [
        Answer(label=classifier.labels[column], probability=float(probs[row, column]))
        for row, column in enumerate(best)
    ]


@app.get("/labels")
def labels(request: Request) -> list[str]:
    """All labels."""
    known: list[str] = request.app.state.classifier.labels
    return known


@app.get("/health")
def health() -> dict[str, str]:
    """Answers once the student is loaded."""
    return {"status": "ok"}
