"""Tiny random classifiers, a tokenizer and whole projects, made on the spot: no network, about a second each."""

import json
import random
from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from muki_pipeline import config
from muki_pipeline.corpus.prepare import prepare
from muki_pipeline.embedding.run import embed_corpus
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.training.student.train import train_student

WORDS = [f"w{number}" for number in range(50)]
SPECIAL = {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
VOCABULARY = {word: number for number, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *WORDS])}
SIZES: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 66,
    "pad_token_id": 0,
    "initializer_range": 0.4,  # outputs of a fresh network are nearly uniform otherwise
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {},
    "electra": {"embedding_size": 16},
    "distilbert": {
        "dim": 16,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 32,
    },
    "deberta-v2": {
        "relative_attention": True,
        "position_biased_input": False,
        "pos_att_type": ["p2c", "c2p"],
    },
}


def cut_on(side: str, folder: Path) -> None:
    """Let the tokenizer in a folder cut texts on a side; saving it would not keep what is set on the object."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"truncation_side": side}))


def tokenizer(max_length: int = 64, *, by_character: bool = False) -> PreTrainedTokenizerFast:
    """Whole words or, as another model's tokenizer would see them, characters."""
    characters = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, **{each: at for at, each in enumerate("w0123456789", 4)}}
    inner = Tokenizer(models.WordLevel(characters if by_character else VOCABULARY, unk_token="<unk>"))
    by_word = pre_tokenizers.Whitespace()
    split = pre_tokenizers.Split("", behavior="isolated")
    inner.pre_tokenizer = pre_tokenizers.Sequence([by_word, split]) if by_character else by_word
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", VOCABULARY["<s>"]), ("</s>", VOCABULARY["</s>"])]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=max_length, **SPECIAL)


def model(labels: list[str], architecture: str = "bert", seed: int = 0, **config: Any) -> Any:
    torch.manual_seed(seed)
    settings = AutoConfig.for_model(
        architecture,
        **{**SIZES, **ARCHITECTURES.get(architecture, {}), **config},
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    return AutoModelForSequenceClassification.from_config(settings).eval()


def save_teacher(folder: Path, labels: list[str], architecture: str = "bert", seed: int = 0, **config: Any) -> Path:
    model(labels, architecture, seed, **config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def save_pretrained_encoder(folder: Path, seed: int = 0, **config: Any) -> Path:
    """What a student starts from: a model that names no labels."""
    return save_teacher(folder, ["LABEL_0", "LABEL_1"], seed=seed, **config)


def texts(count: int, seed: int = 0, longest: int = 30) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(WORDS, k=drawn.randint(0, longest))) for _ in range(count)]


TEACHER_LABELS = {"one": ["apple", "pear", "plum"], "two": ["oak", "elm"]}


def params(teachers: list[str]) -> dict[str, Any]:
    """The content of a project's params.yaml."""
    return {
        "prepare": {
            "corpus": {"source": "corpus.csv", "text": "body", "label": "topic"},
            "test": {"source": "test.csv", "text": "body", "label": "topic"},
            "shard_rows": 8,
        },
        "teachers": {name: {"model": f"models/{name}"} for name in teachers},
        "label": {"passes": 3, "max_length": 24, "token_budget": 200, "device": "cpu", "dtype": "float32"},
        "embed": {"max_length": 64},
        "integrate": {"strategy": "soft", "scorer": "mc_entropy"},
        "student": {
            "model": "models/base",
            "epochs": 2,
            "batch_size": 8,
            "learning_rate": 1e-3,
            "max_length": 24,
            "temperature": 1.0,
            "precision": "float32",
        },
        "evaluate": {},
    }


def save_project(root: Path, rows: int = 30, teachers: dict[str, list[str]] = TEACHER_LABELS, **changes: Any) -> Path:
    """A project with tiny teachers and a CSV corpus; returns its params.yaml. `changes` replace whole blocks."""
    for number, (name, labels) in enumerate(teachers.items()):
        save_teacher(root / "models" / name, labels, seed=number)
    save_pretrained_encoder(root / "models" / "base", seed=9)
    names = [label for labels in teachers.values() for label in labels]
    for part, seed in (("corpus", 1), ("test", 2)):
        lines = [f'{names[number % len(names)]},"{text}"' for number, text in enumerate(texts(rows, seed))]
        (root / f"{part}.csv").write_text("\n".join(["topic,body", *lines]) + "\n")
    path = root / "params.yaml"
    path.write_text(yaml.safe_dump(params(list(teachers)) | changes, sort_keys=False))
    return path


def label(path: Path) -> None:
    """Run `prepare`, `label` with every teacher, and `embed`."""
    params, layout = config.load(path)
    prepare(params.prepare, layout)
    for name, teacher in params.teachers.items():
        label_corpus(name, teacher, params.label, layout)
    embed_corpus(params, layout)


def save_labelled(root: Path) -> Path:
    """A labelled project of the default rule, on texts whose words tell their teacher."""
    path = save_project(root, rows=60, integrate={}, embed={"max_length": 24})
    label(path)
    return path


def finish(path: Path) -> None:
    """Run all stages up to the student."""
    label(path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    train_student(params, layout)


def change(path: Path, block: str, **values: Any) -> None:
    """Set keys of a block of params.yaml."""
    content = yaml.safe_load(path.read_text())
    content.setdefault(block, {}).update(values)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
