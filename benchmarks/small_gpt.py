"""A small GPT, the peer that `text.py` trains in the same minutes.

It is the CPU recipe of nanoGPT's README (A. Karpathy, 2022), written anew: 4 layers, 4 heads and
width 128, blocks of 64 characters, batches of 12, AdamW 1e-3 with a cosine to 1e-4, no dropout,
float32. The schedule is scaled to the time that is given.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK, BATCH, WIDTH, LAYERS, HEADS = 64, 12, 128, 4, 4
PEAK_RATE, LEAST_RATE, WARMUP_STEPS = 1e-3, 1e-4, 100


class Block(nn.Module):
    """Attention to what came before, then a small network, each added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.join = nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = (
            nn.Linear(WIDTH, 4 * WIDTH, bias=False),
            nn.Linear(4 * WIDTH, WIDTH, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)"""
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.join(mixed.transpose(1, 2).reshape(b, t, c))
        out: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return out


class GPT(nn.Module):
    """Tokens of a block to logits."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocab_size, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        self.head = nn.Linear(WIDTH, vocab_size, bias=False)
        self.head.weight = self.tokens.weight
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T) -> (B, T, V)"""
        places = torch.arange(x.shape[1])
        logits: Tensor = self.head(self.norm(self.blocks(self.tokens(x) + self.places(places))))
        return logits


def train_gpt(train: Tensor, vocab_size: int, seconds: float) -> GPT:
    """The peer, for so many seconds. train: (N,)"""
    torch.manual_seed(0)
    model = GPT(vocab_size)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=0.1
    )
    began, step = time.monotonic(), 0
    while (done := (time.monotonic() - began) / seconds) < 1.0:
        cosine = 0.5 * (1.0 + math.cos(math.pi * done))
        rate = LEAST_RATE + cosine * (PEAK_RATE - LEAST_RATE)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / WARMUP_STEPS)
        at = torch.randint(len(train) - BLOCK - 1, (BATCH,))
        rows = torch.stack([train[i : i + BLOCK + 1] for i in at.tolist()])
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
    return model.eval()


@torch.no_grad()
def score_gpt(model: GPT, held_out: Tensor) -> float:
    """Nats per character over cold blocks of BLOCK. held_out: (N,)"""
    blocks = held_out[: (len(held_out) - 1) // BLOCK * BLOCK + 1]
    inputs, targets = blocks[:-1].view(-1, BLOCK), blocks[1:].view(-1, BLOCK)
    total_nats = 0.0
    for x, y in zip(inputs.split(64), targets.split(64), strict=True):
        total_nats += F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum").item()
    return total_nats / targets.numel()
