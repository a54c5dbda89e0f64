"""One teacher x one corpus shard -> one label table.

What a table holds is a function of its key alone: the teacher's files, the texts, the number of passes, the seed, the
longest input and the arithmetic. Batches, their order and the device are not in the key because they cannot change a
number by more than rounding; `prove` stops the command where that does not hold.
"""

import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from pipeline import store
from pipeline.batching import Batch, Tokenised, by_token_budget, collate, tokenise
from pipeline.config import Label
from pipeline.devices import choose_device, token_budget
from pipeline.dropout import MonteCarloDropout
from pipeline.encoder import keep_pooled_position
from pipeline.errors import MukiError, first
from pipeline.products import pack_products
from pipeline.teachers import TeacherFiles, load

Progress = Callable[[int], None]
"""Told the number of texts that went through the network, after each batch of each pass."""

# Rounding differs with a batch's shape: by how much logits may move before it is more than rounding.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 1e-1}
_PROBE_TEXTS = 4
_ESTIMATE_TEXTS, _ESTIMATE_TOKENS = 512, 1024


@dataclass
class Work:
    """What went through the network.

    Attributes:
        texts: Texts, each once for every pass.
        tokens: Their tokens.
        positions: The same with the batches' padding.
        seconds: Time in the network; a GPU works on its own, so there it is not known.
    """

    texts: int = 0
    tokens: int = 0
    positions: int = 0
    seconds: float = 0.0


class Labeller:
    """A located teacher that labels shards; its weights are loaded when the first shard asks for them.

    Attributes:
        files: The teacher.
        settings: The `label` block.
        device: Where it runs.
        token_budget: Most tokens in a batch, padding counted.
        work: What it has done so far, its checks not counted.
    """

    def __init__(self, files: TeacherFiles, settings: Label) -> None:
        self.files, self.settings, self.work = files, settings, Work()
        self.device = choose_device(settings.device)
        self.token_budget = token_budget(settings, self.device)

    @cached_property
    def _loaded(self) -> tuple[MonteCarloDropout, PreTrainedTokenizerBase]:
        model, tokenizer = load(self.files, self.settings.max_length, self.device)
        token_ids = tokenizer("a probe of dropout")["input_ids"]
        keep_pooled_position(model, token_ids)
        pack_products(model, token_ids, getattr(torch, self.settings.dtype))
        dropout = MonteCarloDropout(
            model,
            seed=self.settings.seed,
            teacher=self.files.name,
            token_ids=token_ids,
            layers=self.settings.dropout_layers,
        )
        return dropout, tokenizer

    def key(self, corpus_digest: str) -> str:
        """What the labels of a shard with this content are kept under: SHA-256 of all that determines them."""
        return store.canonical_key(self._determining(corpus_digest))

    def _determining(self, corpus_digest: str) -> dict[str, Any]:
        return {
            "schema": store.LABEL_SCHEMA,
            "teacher": self.files.name,
            "labels": list(self.files.labels),
            "teacher_digest": self.files.digest,
            "corpus_digest": corpus_digest,
            "passes": self.settings.passes,
            "seed": self.settings.seed,
            "max_length": self.settings.max_length,
            "dtype": self.settings.dtype,
            "dropout_override": self.files.settings.dropout,
            "dropout_layers": self.settings.dropout_layers,
        }

    def metadata(self, corpus_digest: str) -> dict[str, Any]:
        """A label shard's footer: what determines it, where dropout was active, and by which versions it was made."""
        dropout, _ = self._loaded
        return self._determining(corpus_digest) | {
            "dropout": [asdict(site) for site in dropout.sites.values()],
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
        }

    def label(self, table: pa.Table, progress: Progress) -> pa.Table:
        """Run all passes over the texts of a corpus shard.

        Args:
            table: `id`, `text`.
            progress: See `Progress`; texts x (passes + 1) in all.

        Returns:
            The columns of a label shard (design: "The tables"), in the order of `table`.

        Raises:
            MukiError: Logits are NaN or infinite (with the ids), or dropout is not active, or a text's numbers
                depend on its batch.
        """
        dropout, tokenizer = self._loaded
        ids = table["id"].to_pylist()
        tokens = tokenise(tokenizer, table["text"].to_pylist(), self.settings.max_length)
        self._prove(tokens)
        batches = [
            collate(tokenizer, tokens, rows, self.device) for rows in by_token_budget(tokens.lengths, self.token_budget)
        ]
        shape = (len(ids), len(self.files.labels))
        logits = torch.empty(shape, device=self.device)
        # Sums over passes are kept in double precision: float32 is what is stored, not what is added up in.
        probs = torch.zeros(shape, dtype=torch.float64, device=self.device)
        expected = torch.zeros(len(ids), dtype=torch.float64, device=self.device)
        prefix_outputs: list[Any] = []
        for batch, output in self._run(batches, progress):
            logits[batch.rows] = output
            prefix_outputs.append(dropout.prefix.output if dropout.prefix else None)
        self._check_finite(logits, ids, "without dropout")
        for number in range(self.settings.passes):
            with dropout.network(number):
                for batch, output in self._run(batches, progress, prefix_outputs):
                    log_p = torch.log_softmax(output.double(), dim=-1)
                    p = log_p.exp()
                    probs[batch.rows] += p
                    expected[batch.rows] -= (p * log_p).sum(dim=-1)
            self._check_finite(probs, ids, f"in pass {number}")
        probs /= self.settings.passes
        entropy = torch.special.entr(probs).sum(dim=-1)
        columns = {
            "id": table["id"].combine_chunks(),
            "probs": store.fixed_size_lists(probs.float().cpu().numpy()),
            "logits": store.fixed_size_lists(logits.cpu().numpy()),
            "entropy": pa.array(entropy.float().cpu().numpy()),
            "expected_entropy": pa.array((expected / self.settings.passes).float().cpu().numpy()),
            "tokens": pa.array(tokens.lengths),
            "truncated": pa.array(tokens.truncated),
        }
        return pa.table(columns)

    def logits(self, texts: list[str], progress: Progress) -> NDArray[np.float32]:
        """Logits `[texts, labels]` without dropout."""
        _, tokenizer = self._loaded
        tokens = tokenise(tokenizer, texts, self.settings.max_length)
        rows = by_token_budget(tokens.lengths, self.token_budget)
        batches = (collate(tokenizer, tokens, each, self.device) for each in rows)
        logits = torch.empty((len(texts), len(self.files.labels)))
        for batch, output in self._run(batches, progress):
            logits[batch.rows.cpu()] = output.cpu()
        return logits.numpy()

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.settings.dtype == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def estimate(self, texts: list[str]) -> float:
        """Seconds that labelling takes a text like `texts`, from one small batch with and without dropout."""
        dropout, tokenizer = self._loaded
        sample = texts[:: -(-len(texts) // _ESTIMATE_TEXTS)]
        tokens = tokenise(tokenizer, sample, self.settings.max_length)
        rows = by_token_budget(tokens.lengths, min(self.token_budget, _ESTIMATE_TOKENS))
        batch = collate(tokenizer, tokens, rows[len(rows) // 2], self.device)

        def seconds(prefix_output: Any = None) -> float:
            self._forward(batch, prefix_output)  # makes the masks and warms up
            start = time.perf_counter()
            self._forward(batch, prefix_output).sum().item()  # waits for a GPU
            return time.perf_counter() - start

        plain = seconds()
        prefix_output = dropout.prefix.output if dropout.prefix else None
        with dropout.network(0):
            masked = seconds(prefix_output)
        share_of_batch = float(tokens.lengths.mean()) / batch.inputs["input_ids"].numel()
        return share_of_batch * (plain + self.settings.passes * masked)

    @torch.inference_mode()
    def _forward(self, batch: Batch, prefix_output: Any = None) -> Tensor:
        """Float32 logits of a batch, of the network of the pass under way."""
        dropout, _ = self._loaded
        with self._autocast():
            return dropout.logits(batch.inputs, prefix_output).float()

    def _run(
        self, batches: Iterable[Batch], progress: Progress, prefix_outputs: Iterable[Any] = repeat(None)
    ) -> Iterator[tuple[Batch, Tensor]]:
        """Each batch with its logits, counted."""
        for batch, prefix_output in zip(batches, prefix_outputs, strict=False):
            start = time.perf_counter()
            output = self._forward(batch, prefix_output)
            self.work.seconds += time.perf_counter() - start
            self.work.texts += len(batch.rows)
            self.work.tokens += batch.tokens
            self.work.positions += batch.inputs["input_ids"].numel()
            yield batch, output
            progress(len(batch.rows))

    def _prove(self, tokens: Tokenised) -> None:
        """Two passes must differ, and a text alone must get the numbers that it gets in a batch.

        The texts are the shard's shortest and longest and two between: where they have different lengths, padding and
        the place in the batch are both put to the test.
        """
        dropout, tokenizer = self._loaded
        order = np.argsort(tokens.lengths, kind="stable")
        rows = order[np.unique(np.linspace(0, len(order) - 1, _PROBE_TEXTS).astype(np.intp))]
        together = collate(tokenizer, tokens, rows, self.device)
        alone = [collate(tokenizer, tokens, rows[each : each + 1], self.device) for each in range(len(rows))]
        with dropout.network(0):
            batched = self._forward(together)
            single = torch.cat([self._forward(batch) for batch in alone])
        with dropout.network(1):
            other = self._forward(together)
        where = f"teacher {self.files.name}"
        if torch.equal(batched, other):
            raise MukiError(
                "two dropout passes gave the same numbers",
                where=where,
                fix=f"Set a higher teachers.{self.files.name}.dropout",
            )
        difference = float((batched - single).abs().max() / batched.abs().max().clamp(min=1.0))
        if difference > _TOLERANCE[self.settings.dtype]:
            raise MukiError(
                f"a text's logits depend on its batch (they differ by {difference:.2g})",
                where=where,
                fix="Use a teacher of another architecture: this one's numbers would not be the text's alone",
            )

    def _check_finite(self, values: Tensor, ids: list[str], when: str) -> None:
        bad = (~torch.isfinite(values)).any(dim=-1).nonzero().flatten().tolist()
        if bad:
            raise MukiError(
                f"logits are NaN or infinite {when} for {len(bad)} texts: {first([ids[row] for row in bad])}",
                where=f"teacher {self.files.name}",
                fix="Look at these texts and at the model's weights; with bfloat16, try label.dtype: float32",
            )
