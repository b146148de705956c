"""Generation held to a JSON schema, token by token: what the schema does not admit cannot be said."""

from collections.abc import Sequence
from typing import Any

import llguidance
import numpy as np
import torch
from llguidance.hf import from_tokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from models.teachers.port import TeacherError


class Grammars:
    """Compiles schemas for one tokenizer; each distinct one once.

    Raises:
        TeacherError: the tokenizer is not a fast one, whose vocabulary alone can be read in bytes.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vocabulary: int) -> None:
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            raise TeacherError(
                "the model's tokenizer is not a fast one: name a model that has tokenizer.json"
            )
        self.end = int(tokenizer.eos_token_id)
        self.vocabulary = vocabulary
        self._tokenizer = from_tokenizer(tokenizer, n_vocab=vocabulary)
        self._compiled: dict[str, llguidance.LLMatcher] = {}

    def matcher(self, schema: dict[str, Any]) -> llguidance.LLMatcher:
        """A matcher at the start of an answer.

        Raises:
            TeacherError: the schema does not compile.
        """
        grammar = llguidance.LLMatcher.grammar_from_json_schema(
            schema, overrides={"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        )
        if grammar not in self._compiled:
            matcher = llguidance.LLMatcher(self._tokenizer, grammar)
            if matcher.is_error():
                raise TeacherError(f"the answer's schema does not compile: {matcher.get_error()}")
            self._compiled[grammar] = matcher
        return self._compiled[grammar].deep_copy()


class Constraint(LogitsProcessor):
    """Strikes every token that would leave a row's schema; a finished row can only end.

    Args:
        matchers: one a row.
        prompt_length: tokens before the answer, the same for all rows (prompts are padded on the left).
    """

    def __init__(
        self, grammars: Grammars, matchers: Sequence[llguidance.LLMatcher], prompt_length: int
    ) -> None:
        self._matchers, self._read = matchers, prompt_length
        self._end = grammars.end
        self._mask = allocate_token_bitmask(len(matchers), grammars.vocabulary)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """`scores` [B, V], minus infinity where the schema does not go on."""
        said = input_ids[:, self._read :].tolist()
        self._read = input_ids.shape[1]
        for row, (matcher, tokens) in enumerate(zip(self._matchers, said, strict=True)):
            for token in tokens:
                if not matcher.is_stopped():
                    matcher.consume_token(token)
            if matcher.is_stopped():
                self._mask[row] = 0
                self._mask[row, self._end // 32] = np.array(1 << self._end % 32, np.uint32).view(np.int32)
            else:
                fill_next_token_bitmask(matcher, self._mask, row)
        width = scores.shape[1]
        bits = np.unpackbits(self._mask.view(np.uint8), axis=1, bitorder="little")[:, :width]
        allowed = torch.zeros(scores.shape, dtype=torch.bool)
        allowed[:, : bits.shape[1]] = torch.as_tensor(bits.astype(bool))
        return scores.masked_fill(~allowed.to(scores.device), -torch.inf)  # type: ignore[return-value]
