"""One teacher x one corpus shard -> one label table.

A table's content is a function of its key alone (`store.py`). Batches, their order and the device are not in the key
because they cannot change a number by more than rounding; `proofs.py` stops the command if they do.
"""

import platform
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from muki_pipeline.config import Dtype, Label
from muki_pipeline.errors import MukiError, refusing
from muki_pipeline.labelling.network.masks import Masks
from muki_pipeline.labelling.network.network import Network
from muki_pipeline.labelling.outcome import Throughput
from muki_pipeline.labelling.proofs import check_finite, check_probe
from muki_pipeline.models.batching import Batch, Tokenised, by_token_budget, collate, tokenise
from muki_pipeline.models.devices import choose_device, token_budget
from muki_pipeline.models.heads import classifier_head, recording_features
from muki_pipeline.models.loaded.teacher import load
from muki_pipeline.models.teachers import TeacherFiles
from muki_pipeline.models.tokenizers import longest_input
from muki_pipeline.progress import SILENT, Task
from muki_pipeline.store import schema
from muki_pipeline.store.columns import fixed_size_lists

_PROBE_TEXTS = 4
_ESTIMATE_TEXTS, _ESTIMATE_TOKENS = 512, 1024
_PROBES = ["a", "a longer probe, which tells whether a text depends on those beside it"]
_PROBE_TOKENS = 32


class Labeller:
    """A located teacher that labels shards; its weights are loaded when the first shard needs them.

    It can be pickled: the other process loads the weights for itself.

    Attributes:
        files: The teacher.
        settings: The `label` block, with a dtype other than `auto`.
        dtype: Its arithmetic.
        device: Where it runs.
        token_budget: Most tokens in a batch, including padding.
        throughput: What it has done so far, without its checks.
    """

    def __init__(self, files: TeacherFiles, settings: Label) -> None:
        if settings.dtype == "auto":
            raise ValueError("a labeller needs to know its arithmetic: see labelling/arithmetic.py")
        self.files, self.settings, self.throughput = files, settings, Throughput()
        self.dtype: Dtype = settings.dtype
        self.device = choose_device(settings.device)
        self.token_budget = token_budget(settings, self.device)

    def __reduce__(self) -> tuple[type["Labeller"], tuple[TeacherFiles, Label]]:
        """Pickled as its arguments: the loaded network stays in this process."""
        return Labeller, (self.files, self.settings)

    @cached_property
    def _loaded(self) -> tuple[Network, PreTrainedTokenizerBase]:
        model, tokenizer = load(self.files, self.settings.max_length, self.device)
        self.files.check_same()  # labels are stored under their digest
        # The network's own code meets its first text here.
        with refusing(
            "its network cannot read a text padded to a batch",
            where=f"teacher {self.files.name}",
            fix="Use a teacher of another architecture, or the tokenizer that belongs to the model",
        ):
            token_ids = tokenizer("a probe of dropout")["input_ids"]
            masks = Masks(self.settings.seed, self.files.name)
            return Network(model, getattr(torch, self.dtype), masks, token_ids), tokenizer

    @property
    def network(self) -> Network:
        """The teacher's network."""
        return self._loaded[0]

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The teacher's tokenizer."""
        return self._loaded[1]

    @property
    def longest(self) -> int | None:
        """Longest text in tokens that the teacher reads; None where it reads any length."""
        return longest_input(self.network.model, self.tokenizer)

    @property
    def provenance(self) -> dict[str, Any]:
        """For a label shard's footer: where dropout was active, and by which versions the shard was made."""
        return {
            "dropout": [asdict(site) for site in self.network.masks.sites.values()],
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
        }

    def label(self, table: pa.Table, task: Task = SILENT) -> pa.Table:
        """Run all passes over the texts of a corpus shard.

        Args:
            table: `id`, `text`.
            task: Receives the texts that went through the network; texts x (passes + 1) in all.

        Returns:
            The columns of a label shard (`store/schema.py`), in the order of `table`.

        Raises:
            MukiError: Logits are NaN or infinite (with the ids), or dropout is not active, or a text's numbers
                depend on its batch.
        """
        self.check()
        ids = table["id"].to_pylist()
        tokens = self._tokenise(table["text"].to_pylist())
        self._prove(tokens)
        batches = list(self._batches(tokens))
        logits = torch.empty((len(ids), len(self.files.labels)), device=self.device)
        for batch, output in self._run(batches, None, task):
            logits[batch.rows] = output
        check_finite(self.files.name, logits, ids, "without dropout")
        probs, expected = self._average(batches, ids, task)
        entropy = torch.special.entr(probs).sum(dim=-1)
        columns = {
            "id": table["id"],
            "probs": fixed_size_lists(probs.float().cpu().numpy()),
            "logits": fixed_size_lists(logits.cpu().numpy()),
            "entropy": pa.array(entropy.float().cpu().numpy()),
            "expected_entropy": pa.array(expected.float().cpu().numpy()),
            "tokens": pa.array(tokens.lengths),
            "truncated": pa.array(tokens.truncated),
        }
        return schema.arrow_table(schema.LABELS, columns, labels=len(self.files.labels))

    def _average(self, batches: list[Batch], ids: list[str], task: Task) -> tuple[Tensor, Tensor]:
        """Over the passes: distributions `[texts, labels]`, and their entropies `[texts]` in nats, in double precision.

        Raises:
            MukiError: Numbers are NaN or infinite, with the ids.
        """
        probs = torch.zeros((len(ids), len(self.files.labels)), dtype=torch.float64, device=self.device)
        entropies = torch.zeros(len(ids), dtype=torch.float64, device=self.device)
        for number in range(self.settings.passes):
            for batch, output in self._run(batches, number, task):
                log_p = torch.log_softmax(output.double(), dim=-1)
                p = log_p.exp()
                probs[batch.rows] += p
                entropies[batch.rows] -= (p * log_p).sum(dim=-1)
            check_finite(self.files.name, probs, ids, f"in pass {number}")
        return probs / self.settings.passes, entropies / self.settings.passes

    def check(self) -> None:
        """Make every check of the teacher that labelling makes, on short texts of different lengths.

        Raises:
            MukiError: It cannot be loaded, dropout is not active, or its numbers depend on more than the text.
        """
        self._prove(self._probes)

    def rehearse(self) -> None:
        """As `check`, and its answers to these texts must be numbers, else MukiError: before anybody waits."""
        self.check()
        rows = np.arange(len(self._probes.lengths))
        logits = self.network.forward(self._collate(self._probes, rows).inputs, None)
        check_finite(self.files.name, logits, [f"probe {row}" for row in rows], "without dropout")

    @cached_property
    def _probes(self) -> Tokenised:
        """Short texts, the last of the teacher's own words: to it, those of the others may all be unknown."""
        words = sorted(self.tokenizer.get_vocab().items(), key=itemgetter(1))
        own = " ".join(word for word, _ in words[:: max(len(words) // _PROBE_TOKENS, 1)])
        return tokenise(self.tokenizer, [*_PROBES, own], min(_PROBE_TOKENS, self.longest or _PROBE_TOKENS))

    def _prove(self, tokens: Tokenised) -> None:
        """Two passes must differ, so must two texts, and a text alone must get the same numbers as in a batch.

        The texts are the shard's shortest, its longest and two between: if their lengths differ, this tests both
        padding and the place in the batch.
        """
        order = np.argsort(tokens.lengths, kind="stable")
        rows = order[np.unique(np.linspace(0, len(order) - 1, _PROBE_TEXTS).astype(np.intp))]
        together = self._collate(tokens, rows).inputs
        alone = [self._collate(tokens, rows[each : each + 1]).inputs for each in range(len(rows))]
        batched = self.network.forward(together, 0)
        single = torch.cat([self.network.forward(inputs, 0) for inputs in alone])
        other = self.network.forward(together, 1)
        ids = [tokens.features["input_ids"][row] for row in rows]
        check_probe(self.files.name, ids, batched, single, other, self.dtype)

    def logits(self, texts: list[str], task: Task = SILENT) -> NDArray[np.float32]:
        """Logits `[texts, labels]` without dropout."""
        logits = np.empty((len(texts), len(self.files.labels)), dtype=np.float32)
        for batch, output in self._run(self._batches(self._tokenise(texts)), None, task):
            logits[batch.rows.cpu()] = output.cpu()
        return logits

    def features(self, texts: list[str], task: Task = SILENT) -> NDArray[np.float16]:
        """What the head reads of each text without dropout, `[texts, features]`.

        Raises:
            MukiError: There is no such layer, or it reads every token.
        """
        where = f"teacher {self.files.name}"
        with recording_features(classifier_head(self.network.model, where)) as seen:
            parts, rows = [], []
            for batch, _ in self._run(self._batches(self._tokenise(texts)), None, task):
                features = seen.pop()
                if features.ndim != 2:
                    fix = "Set label.features: false, and leave out the rules cfl and dfa"
                    raise MukiError("its head reads every token, not one vector of a text", where=where, fix=fix)
                parts.append(features.cpu().to(torch.float16).numpy())
                rows.append(batch.rows.cpu().numpy())
        result = np.empty((len(texts), parts[0].shape[1]), dtype=np.float16)
        result[np.concatenate(rows)] = np.concatenate(parts)
        return result

    def estimate(self, texts: list[str]) -> float:
        """Seconds to label one text like `texts`, from a small batch with and without dropout."""
        tokens = self._tokenise(texts[:: -(-len(texts) // _ESTIMATE_TEXTS)])
        rows = by_token_budget(tokens.lengths, min(self.token_budget, _ESTIMATE_TOKENS))
        inputs = self._collate(tokens, rows[len(rows) // 2]).inputs

        def seconds(pass_number: int | None) -> float:
            self.network.forward(inputs, pass_number)  # makes the masks and warms up
            start = time.perf_counter()
            self.network.forward(inputs, pass_number).sum().item()  # waits for a GPU
            return time.perf_counter() - start

        share_of_batch = float(tokens.lengths.mean()) / inputs["input_ids"].numel()
        return share_of_batch * (seconds(None) + self.settings.passes * seconds(0))

    def _tokenise(self, texts: list[str]) -> Tokenised:
        return tokenise(self.tokenizer, texts, self.settings.max_length)

    def _batches(self, tokens: Tokenised) -> Iterator[Batch]:
        return (self._collate(tokens, rows) for rows in by_token_budget(tokens.lengths, self.token_budget))

    def _collate(self, tokens: Tokenised, rows: NDArray[np.intp]) -> Batch:
        return collate(tokens, rows, self.network.model.config.pad_token_id, self.device)

    def _run(self, batches: Iterable[Batch], pass_number: int | None, task: Task) -> Iterator[tuple[Batch, Tensor]]:
        """Each batch with its logits of a pass, counted."""
        for batch in batches:
            start = time.perf_counter()
            output = self.network.forward(batch.inputs, pass_number)
            self.throughput.seconds += time.perf_counter() - start
            self.throughput.texts += len(batch.rows)
            self.throughput.tokens += batch.tokens
            self.throughput.positions += batch.inputs["input_ids"].numel()
            yield batch, output
            task.advance(len(batch.rows))
