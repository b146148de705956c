"""The teacher that is any causal language model: asked in words, answering in JSON by construction."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessorList

from feature_repo.catalogue import Catalogue, Items
from models.schema import Floats
from models.teachers.answer import Answer, answer_schema, lesson_of, parse
from models.teachers.answer_cache import AnswerCache
from models.teachers.candidates import choose_candidates
from models.teachers.constraint import Constraint, Grammars
from models.teachers.port import Case, Lesson, TeacherError, settings_digest
from models.teachers.prompt import ZERO_SHOT, Message, Prompt
from models.training.histories import item_category_shares


@dataclass(frozen=True)
class CausalSettings:
    """How a causal model is asked.

    Attributes:
        prompt: name of a shipped prompt, or a path.
        candidates: items that an answer can choose from.
        most_tokens: of an answer; one that is longer is cut off, hence invalid.
        retries: how often an invalid answer is asked for again, drawn instead of the likeliest.
        batch: cases asked at once.
        dtype: of the weights, such as bfloat16; "auto" is what the model was saved in.
        device_map: where the weights go, as transformers has it.
        download: whether a model that is not on disk may be fetched by name.
    """

    prompt: str = ZERO_SHOT
    candidates: int = 40
    most_tokens: int = 512
    retries: int = 2
    batch: int = 8
    dtype: str = "auto"
    device_map: str | None = None
    download: bool = False
    seed: int = 0


class Estimate(NamedTuple):
    """What a run will take.

    Attributes:
        cases: to be asked; `cached` more were answered before.
        prompt_tokens: in all.
        answer_tokens: at most.
        seconds: at the pace of the first batch.
    """

    cases: int
    cached: int
    prompt_tokens: int
    answer_tokens: int
    seconds: float


class Causal:
    """Any causal model of transformers, by path or name.

    Args:
        cache: folder of answers by content: model, prompt, settings and case.
        popularity: [I] events of training users.

    Raises:
        TeacherError: there is no such model here, or it has no fast tokenizer.
    """

    name = "causal"

    def __init__(
        self,
        model: str,
        catalogue: Catalogue,
        items: Items,
        popularity: Floats,
        cache: Path,
        settings: CausalSettings | None = None,
    ) -> None:
        self.settings = settings = settings or CausalSettings()
        local = not settings.download
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(
                model, local_files_only=local, padding_side="left"
            )
            self._model = AutoModelForCausalLM.from_pretrained(
                model, local_files_only=local, dtype=settings.dtype, device_map=settings.device_map
            ).eval()
        except (OSError, ValueError) as error:
            hint = "" if settings.download else "; to fetch it by name, allow the download"
            raise TeacherError(f"{model} is no causal model that could be loaded: {error}{hint}") from error
        if self._tokenizer.eos_token_id is None:
            raise TeacherError(f"{model}: its tokenizer has no end-of-sequence token")
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        vocabulary = int(self._model.get_input_embeddings().weight.shape[0])
        self._grammars = Grammars(self._tokenizer, vocabulary)
        self._prompt = Prompt(settings.prompt)
        self._catalogue, self._items, self._popularity = catalogue, items, popularity
        self._shares = item_category_shares(catalogue, items)
        offered = hashlib.sha256("\n".join(items.ids).encode() + popularity.tobytes()).hexdigest()
        self.version = settings_digest(
            _weights_digest(self._model),
            self._prompt.text,
            [settings.candidates, settings.most_tokens, settings.retries, settings.seed],
            offered,
        )
        self._cache = AnswerCache(cache, self.version)

    def teach(self, cases: Sequence[Case]) -> Iterator[Lesson]:
        """A lesson for each case that came to a valid answer."""
        for start in range(0, len(cases), self.settings.batch):
            yield from self._teach(cases[start : start + self.settings.batch])

    def estimate(self, cases: Sequence[Case]) -> Estimate:
        """What teaching `cases` will take; the first batch is asked, and its answers kept, to find out."""
        left = [case for case in cases if not self._cache.knows(case)]
        cached, first = len(cases) - len(left), left[: self.settings.batch]
        if not left:
            return Estimate(0, cached, 0, 0, 0.0)
        tokens = sum(len(self._tokenizer(self._text(case))["input_ids"]) for case in left)
        started = time.monotonic()
        self._answer(first)
        pace = (time.monotonic() - started) / len(first)
        remaining = len(left) - len(first)
        return Estimate(
            remaining, cached + len(first), tokens, remaining * self.settings.most_tokens, pace * remaining
        )

    def _teach(self, cases: Sequence[Case]) -> Iterator[Lesson]:
        self._answer([case for case in cases if not self._cache.knows(case)])
        for case in cases:
            text = self._cache.read(case)
            if text is not None:
                yield lesson_of(
                    self._parsed(case, text),
                    case,
                    self._candidates(case),
                    self._catalogue,
                    self._items,
                    self._shares,
                    self._popularity,
                )

    def _answer(self, cases: Sequence[Case]) -> None:
        """Ask about `cases` and keep the answers; those that stay invalid are kept as such."""
        # Two users of whom the same is known are asked about once.
        left = list({case.key(): case for case in cases}.values())
        for attempt in range(self.settings.retries + 1):
            if not left:
                return
            invalid = []
            for case, text in zip(left, self._generate(left, attempt), strict=True):
                try:
                    self._parsed(case, text)
                except ValueError:
                    invalid.append(case)
                else:
                    self._cache.write(case, text)
            left = invalid
        for case in left:
            self._cache.write(case, None)

    def _generate(self, cases: Sequence[Case], attempt: int) -> list[str]:
        """The texts of the answers; the first attempt is the likeliest, others are drawn."""
        tokens = self._tokenizer([self._text(case) for case in cases], padding=True, return_tensors="pt")
        tokens = tokens.to(self._model.device)
        length = tokens["input_ids"].shape[1]
        matchers = [
            self._grammars.matcher(answer_schema(self._catalogue.categories, len(self._candidates(case))))
            for case in cases
        ]
        torch.manual_seed(self.settings.seed + attempt)
        with torch.no_grad():
            said = self._model.generate(
                input_ids=tokens["input_ids"],
                attention_mask=tokens["attention_mask"],
                max_new_tokens=self.settings.most_tokens,
                do_sample=attempt > 0,
                pad_token_id=self._tokenizer.pad_token_id,
                eos_token_id=self._grammars.end,
                logits_processor=LogitsProcessorList([Constraint(self._grammars, matchers, length)]),
            )
        texts: list[str] = self._tokenizer.batch_decode(said[:, length:], skip_special_tokens=True)
        return texts

    def _text(self, case: Case) -> str:
        messages = self._prompt.messages(case, self._catalogue, self._items, self._candidates(case))
        if self._tokenizer.chat_template:
            turns = [{"role": message.role, "content": message.text} for message in messages]
            text: str = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True
            )
            return text
        return plain(messages)

    def _candidates(self, case: Case) -> list[int]:
        return choose_candidates(
            case, self._items, self._shares, self._popularity, self.settings.candidates
        )

    def _parsed(self, case: Case, text: str) -> Answer:
        return parse(text, self._catalogue.categories, len(self._candidates(case)))


def plain(messages: Sequence[Message]) -> str:
    """The turns one after the other, for models that were not taught a chat's form."""
    return "\n\n".join([*(message.text for message in messages), ""])


def _weights_digest(model: Any) -> str:
    """A digest of a sample of each tensor: the whole of a large model would take minutes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, len(flat) // 256)].float().cpu().numpy()
        digest.update(
            f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode() + np.ascontiguousarray(sample).tobytes()
        )
    return digest.hexdigest()
