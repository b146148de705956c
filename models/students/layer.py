"""One layer of a transformer, whose last instance need only answer for its first token."""

import torch
from torch import nn

EXPANSION = 2


class Layer(nn.Module):
    """Pre-norm self-attention and a feed-forward block, each added to what came in.

    Source: A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017; R. Xiong et al., "On Layer
    Normalization in the Transformer Architecture", ICML 2020.

    Args:
        width: of a token (d).
        heads: among which it is split.
        inner: width of the feed-forward block.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.merge = nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor, present: torch.Tensor, first_only: bool) -> torch.Tensor:
        """Tokens [B, T, d], or their first [B, 1, d] if nothing reads the others.

        Args:
            present: [B, T] which tokens may be attended to.
        """
        batch, length, width = tokens.shape
        normed = self.before_attention(tokens)
        if first_only:
            tokens = tokens[:, :1]
        asking = normed[:, :1] if first_only else normed
        query = self.query(asking).reshape(batch, -1, self.heads, width // self.heads).transpose(1, 2)
        key, value = self.key_value(normed).chunk(2, dim=-1)
        key, value = (
            part.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in (key, value)
        )
        # ONNX Runtime's Attention takes no mask that is yet to be repeated for every query.
        mask = present[:, None, None, :].expand(-1, -1, asking.shape[1], -1)
        read = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        tokens = tokens + self.dropout(self.merge(read.transpose(1, 2).flatten(2)))
        inner = torch.relu(self.widen(self.before_forward(tokens)))
        result: torch.Tensor = tokens + self.dropout(self.narrow(self.dropout(inner)))
        return result
