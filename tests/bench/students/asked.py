"""A causal teacher as large as GPT-2, of drawn weights, asked for real: time does not depend on them."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from feature_repo.catalogue import Items
from models.teachers.causal import Causal, CausalSettings
from models.teachers.port import Case, CaseEvent
from tests.bench.students.subject import CATEGORIES, ITEMS, schema

VOCABULARY, CONTEXT, WIDTH, LAYERS, HEADS = 50_257, 2048, 768, 12, 12
"""GPT-2's, but for a context that holds prompt and answer."""

_WORDS = (
    "the",
    "last",
    "house",
    "river",
    "of",
    "summer",
    "night",
    "returns",
    "blue",
    "king",
    "and",
    "city",
)
_EVENTS = 3
TOKENS = 128
"""Answers are cut here, and not asked for again: whole ones take longer."""


class Asked(NamedTuple):
    """Users who were asked about, parameters of the model, and how long each user took."""

    users: int
    parameters: int
    milliseconds: float


def ask(folder: Path, users: int, seed: int = 0) -> Asked:
    """Ask once about so many users in one batch, on the threads torch was given.

    The weights say nothing sensible, but by the schema they say it validly, at the pace of any others.
    """
    rng = np.random.default_rng(seed)
    catalogue = schema().catalogue
    titles = [" ".join(rng.choice(_WORDS, 4)) for _ in range(ITEMS)]
    ids = [str(place) for place in range(ITEMS)]
    items = Items(ids, titles, titles, [(int(kind),) for kind in rng.integers(0, CATEGORIES, ITEMS)])
    popularity = rng.zipf(1.5, ITEMS).clip(max=500).astype(np.float32)
    settings = CausalSettings(most_tokens=TOKENS, retries=0, batch=users)
    parameters = save_model(folder / "model", titles, seed)
    teacher = Causal(str(folder / "model"), catalogue, items, popularity, folder / "answers", settings)
    cases = [
        Case(
            f"user {user}",
            {"age": 30.0, "gender": "F", "occupation": f"o{user % 21}"},
            tuple(CaseEvent(str(rng.integers(ITEMS)), "rating", 4.0) for _ in range(_EVENTS)),
        )
        for user in range(users)
    ]
    started = time.perf_counter()
    list(teacher.teach(cases))
    spent = 1e3 * (time.perf_counter() - started)
    return Asked(users, parameters, spent / users)


def save_model(folder: Path, texts: Sequence[str], seed: int) -> int:
    """Save a model and a tokenizer of pairs of bytes that `texts` taught, and count its parameters."""
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learned.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    PreTrainedTokenizerFast(tokenizer_object=learned, eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    model.save_pretrained(folder)
    return int(model.num_parameters())
