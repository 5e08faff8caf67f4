"""Loss for the minutes given: `generate train` with no option, beside a small GPT, in one run.

    python benchmarks/text.py CORPUS.txt --minutes 2

The peer is the CPU recipe of nanoGPT's README (A. Karpathy, 2022), written anew: a GPT of 4
layers, 4 heads and width 128, blocks of 64 characters, batches of 12, AdamW 1e-3 with a cosine to
1e-4, no dropout, float32, over the corpus's own characters. Its schedule is scaled to the same
minutes. Both read the first 90% and are scored on the last 10%: the state carried through
("stream"; the GPT has none and slides nothing), and cold in blocks ("cold-256", and "cold-64",
the peer's own block length). Nats per character; lower is better.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import generative
from generative.data.corpus import read_text
from generative.data.split import training_length

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


def main() -> None:
    """Train both, score both, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--minutes", type=float, default=2.0)
    arguments = parser.parse_args()

    text = read_text(arguments.corpus)
    cut = training_length(len(text))
    train, held_out = text[:cut], text[cut:]
    chars = {char: i for i, char in enumerate(sorted(set(text)))}
    ids = torch.tensor([chars[char] for char in text])
    gpt = train_gpt(ids[: len(train)], len(chars), arguments.minutes * 60.0)
    peer = score_gpt(gpt, ids[len(train) :])
    with tempfile.TemporaryDirectory() as folder:
        generative.train(arguments.corpus, Path(folder) / "model", minutes=arguments.minutes)
        model = generative.load(Path(folder) / "model")
        ours = {
            name: model.score(held_out, reset_every=reset).nats_per_char
            for name, reset in (("stream", None), ("cold-256", 256), (f"cold-{BLOCK}", BLOCK))
        }
    print(
        f"{arguments.corpus.name}, {arguments.minutes:g} minutes, {len(held_out):,} chars held out"
    )
    for name, value in ours.items():
        print(f"generative  {name:>9}  {value:.4f} nats per char")
    print(f"small GPT   {f'cold-{BLOCK}':>9}  {peer:.4f} nats per char")
    stream, same_block = ours["stream"], ours[f"cold-{BLOCK}"]
    assert stream is not None
    assert same_block is not None
    print(f"ratio: stream {stream / peer:.3f}, same block {same_block / peer:.3f}")


if __name__ == "__main__":
    main()
