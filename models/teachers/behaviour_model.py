"""A causal language model of behaviour logs, GPT-2 by architecture, ours by training."""

import numpy as np
import torch
from torch import nn
from transformers import GPT2Config, GPT2Model

from models.schema import Floats
from models.teachers.language import PAD, Language

WIDTH, LAYERS, HEADS, DROPOUT = 64, 2, 2, 0.2
_SCALE = 0.05
SLOWNESS = 0.1
"""Offsets learn by so much less than everything else."""

SHOWN = 12
"""Events of a sentence, at most; a teacher is asked about users with few."""


class BehaviourModel(nn.Module):
    """Scores of every item and token after every place of a sentence.

    An item's embedding is a projection of its content vector plus an offset of its own that starts at
    zero and learns slowly: few users can tell little of one item, and one that nobody used keeps the
    meaning of its content. Embeddings are shared between input and output; items have a bias that starts
    at the log of their popularity.

    Source: A. Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, for the
    architecture.
    """

    def __init__(
        self,
        language: Language,
        content: Floats,
        popularity: Floats,
        width: int = WIDTH,
        layers: int = LAYERS,
        dropout: float = DROPOUT,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.first_item = language.first_item
        header = len(language.catalogue.attributes) + 1
        config = GPT2Config(
            vocab_size=language.first_item,
            n_positions=header + 2 * SHOWN + 1,
            n_embd=width,
            n_layer=layers,
            n_head=HEADS,
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            attn_pdrop=dropout,
            pad_token_id=PAD,
            bos_token_id=PAD,
            eos_token_id=PAD,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.lm = GPT2Model(config)
            self.projection = nn.Linear(content.shape[1], width, bias=False)
            nn.init.normal_(self.projection.weight, std=_SCALE * content.shape[1] ** -0.5)
        self.content: torch.Tensor
        lengths = np.sqrt((content**2).mean(axis=1, keepdims=True))
        self.register_buffer("content", torch.as_tensor(content / np.maximum(lengths, 1e-6)))
        self.offsets = nn.Parameter(torch.zeros(len(content), width))
        self.bias = nn.Parameter(torch.log(torch.as_tensor(popularity) + 1.0))

    def forward(self, sentences: torch.Tensor) -> torch.Tensor:
        """Hidden states [B, T, W] after each place of `sentences` [B, T], padded on the right."""
        table = torch.cat([self.lm.wte.weight, self.item_vectors()])
        hidden: torch.Tensor = self.lm(
            inputs_embeds=nn.functional.embedding(sentences, table),
            attention_mask=(sentences != PAD).long(),
        ).last_hidden_state
        return hidden

    def item_vectors(self) -> torch.Tensor:
        """[I, W] the items' embeddings."""
        vectors: torch.Tensor = self.projection(self.content) + SLOWNESS * self.offsets
        return vectors

    def item_scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """[..., I] scores of the items after `hidden` [..., W]."""
        return hidden @ self.item_vectors().T + self.bias

    def token_scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """[..., V] scores of all tokens but items after `hidden` [..., W]."""
        scores: torch.Tensor = hidden @ self.lm.wte.weight.T
        return scores
