"""A causal language model of behaviour logs, GPT-2 by architecture, ours by training."""

import numpy as np
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from models.schema import Floats
from models.teachers.language import PAD, Language

WIDTH, LAYERS, HEADS, DROPOUT = 64, 2, 2, 0.2
_TIED = "lm.lm_head.weight"

SHOWN = 16
"""Events of a sentence, at most; a teacher is asked about users with few."""


class BehaviourModel(nn.Module):
    """Scores of every item and token after every place of a sentence.

    Input and output share their embeddings, and those of items start from content vectors, so that an
    item nobody used has a meaning. A bias starts at the log of the items' popularity.

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
            vocab_size=language.size,
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
            self.lm = GPT2LMHeadModel(config)
        rng = np.random.default_rng(seed)
        turned = (
            content
            @ np.linalg.qr(rng.standard_normal((max(content.shape[1], width), width)))[0][
                : content.shape[1]
            ]
        )
        scale = config.initializer_range * 2 / max(float(np.sqrt((turned**2).mean())), 1e-9)
        with torch.no_grad():
            self.lm.transformer.wte.weight[self.first_item :] += torch.as_tensor(
                (turned * scale).astype(np.float32)
            )
        self.bias = nn.Parameter(torch.log(torch.as_tensor(popularity) + 1.0))

    def forward(self, sentences: torch.Tensor) -> torch.Tensor:
        """Hidden states [B, T, W] after each place of `sentences` [B, T], padded on the right."""
        hidden: torch.Tensor = self.lm.transformer(
            input_ids=sentences, attention_mask=(sentences != PAD).long()
        ).last_hidden_state
        return hidden

    def item_vectors(self) -> torch.Tensor:
        """[I, W] the items' embeddings."""
        vectors: torch.Tensor = self.lm.transformer.wte.weight[self.first_item :]
        return vectors

    def item_scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """[..., I] scores of the items after `hidden` [..., W]."""
        return hidden @ self.item_vectors().T + self.bias

    def token_scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """[..., V] scores of all tokens but items after `hidden` [..., W]."""
        scores: torch.Tensor = hidden @ self.lm.transformer.wte.weight[: self.first_item].T
        return scores

    def weights(self) -> dict[str, torch.Tensor]:
        """What was trained; the output embeddings are the input's and not repeated."""
        return {name: value for name, value in self.state_dict().items() if name != _TIED}

    def load_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Take what `weights` gave."""
        self.load_state_dict({**weights, _TIED: weights[_TIED.replace("lm_head", "transformer.wte")]})
