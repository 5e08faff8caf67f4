"""Tokens per second of sampling: this package beside what a user of torch writes, in one run.

    python benchmarks/sampling.py --text held_out.txt           # --quick for a short look

Everything runs on one thread from random weights, vocabulary 96, temperature 0.8, top-p 0.95, ours
through `TextModel.generate`. The peers: the usual loop (embedding, `nn.LSTM`, a linear layer, one
step a call, sorted nucleus, multinomial), the same with the cell written out in `addmm`, and GPTs
with a key-value cache: one of about as many parameters, and nanoGPT's beside the Shakespeare model
that ships, which has the lower held-out loss of the two. BLAS is the rate at which NumPy's
matrix-vector products read the weights that a token needs. Rounds of all sides take turns; the
best one counts. Then whole commands beside `import torch`, and what int8 costs on a text.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import generative
from generative import engine
from generative.api.runtime import Runtime
from generative.api.text_model import TextModel
from generative.checkpoint import Checkpoint
from generative.model.config import ModelConfig
from generative.model.language_model import LanguageModel
from generative.tokenizers.text import StreamDecoder, join

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

VOCABULARY, EMBEDDING, BATCH = 96, 128, 64
SHAPES = ((2, 128), (2, 256), (3, 512), (3, 1024))
GPT_SHAPES, GPT_LENGTHS = ((2, 256), (3, 512)), (100, 1_000, 10_000)
GPT_LAYERS, GPT_HEADS = 4, 4
# layers, heads, width: 10.65M parameters and 1.4697 nats per char of Tiny Shakespeare by nanoGPT's
# README, where the model that ships has 1.40 in windows of the same 256 characters
NANO_GPT = (6, 6, 384)
TEMPERATURE, TOP_P = 0.8, 0.95
INT8_CHARS = 32_000
NEVER = -100.0  # a logit; random weights would end a text every 96 tokens


class Printable:
    """A tokenizer of 96 ids: the start token and the printable ASCII characters."""

    name = "char"
    start_id = 0
    vocab_size = VOCABULARY
    pieces = (b"", *(bytes([code]) for code in range(32, 127)))

    def encode(self, text: str) -> list[int]:
        """Printable ASCII -> ids."""
        return [ord(char) - 31 for char in text]

    def decode(self, ids: Sequence[int]) -> str:
        """The inverse of `encode`."""
        return join(self.pieces, ids)

    def decoder(self) -> StreamDecoder:
        """`decode`, one id at a time."""
        return StreamDecoder(self.pieces)

    def describe(self, token: int) -> str:
        """A token for human eyes."""
        return repr(self.decode([token]))


def checkpoint(layers: int, hidden: int) -> Checkpoint:
    """Random weights in a model's clothes."""
    config = ModelConfig(
        vocab_size=VOCABULARY,
        num_layers=layers,
        hidden_size=hidden,
        embedding_size=EMBEDDING,
        sum_layers=False,
    )
    weights = {k: v.numpy() for k, v in LanguageModel(config).state_dict().items()}
    weights["output.bias"][Printable.start_id] = NEVER
    tokenizer: Any = Printable()
    return Checkpoint(
        name="random", path=Path(), config=config, tokenizer=tokenizer, weights=weights
    )


def ours(
    found: Checkpoint, precision: str = "float32", sequences: int = 1
) -> Callable[[int], None]:
    """The package's public door."""
    model = TextModel(Runtime(found, precision=precision))

    def draw(count: int) -> None:
        made = model.generate(
            max_new_tokens=count // sequences,
            temperature=TEMPERATURE,
            top_p=TOP_P,
            seed=0,
            num_return_sequences=sequences,
        )
        assert len(made.sequences[-1].tokens) == count // sequences

    return draw


def shipped() -> Callable[[int], None]:
    """The Shakespeare model that ships, which never ends by itself."""
    model = generative.load("shakespeare")

    def draw(count: int) -> None:
        drawn = 0
        while drawn < count:
            made = model.generate(
                max_new_tokens=count - drawn, temperature=TEMPERATURE, top_p=TOP_P, seed=drawn
            )
            drawn += max(1, len(made.sequences[0].tokens))

    return draw


def choose(logits: Tensor) -> Tensor:
    """The usual sampler in torch. (B, V) -> (B, 1)"""
    p = (logits / TEMPERATURE).softmax(-1)
    ordered, order = p.sort(descending=True)
    ordered[ordered.cumsum(-1) - ordered >= TOP_P] = 0.0
    return order.gather(1, torch.multinomial(ordered, 1))


def lstm_loop(layers: int, hidden: int, sequences: int = 1) -> Callable[[int], None]:
    """`nn.LSTM`, one step a call."""
    embedding = nn.Embedding(VOCABULARY, EMBEDDING)
    lstm = nn.LSTM(EMBEDDING, hidden, layers)
    output = nn.Linear(hidden, VOCABULARY)

    @torch.no_grad()
    def draw(count: int) -> None:
        token = torch.zeros(sequences, 1, dtype=torch.long)
        state = None
        for _ in range(count // sequences):
            out, state = lstm(embedding(token).transpose(0, 1), state)
            token = choose(output(out[-1]))

    return draw


def addmm_loop(layers: int, hidden: int) -> Callable[[int], None]:
    """The cell written out, as one does who has found `nn.LSTM` slow."""
    embedding = nn.Embedding(VOCABULARY, EMBEDDING)
    lstm = nn.LSTM(EMBEDDING, hidden, layers)
    output = nn.Linear(hidden, VOCABULARY)
    cells = [
        (
            getattr(lstm, f"weight_ih_l{i}").detach().t().contiguous(),
            getattr(lstm, f"weight_hh_l{i}").detach().t().contiguous(),
            (getattr(lstm, f"bias_ih_l{i}") + getattr(lstm, f"bias_hh_l{i}")).detach(),
        )
        for i in range(layers)
    ]

    @torch.inference_mode()
    def draw(count: int) -> None:
        token = torch.zeros(1, 1, dtype=torch.long)
        states = [(torch.zeros(1, hidden), torch.zeros(1, hidden)) for _ in cells]
        for _ in range(count):
            x = embedding(token[0])
            for at, (weight_input, weight_hidden, bias) in enumerate(cells):
                h, c = states[at]
                gates = torch.addmm(torch.addmm(bias, x, weight_input), h, weight_hidden)
                i, f, g, o = gates.chunk(4, 1)
                c = torch.addcmul(f.sigmoid() * c, i.sigmoid(), g.tanh())
                x = o.sigmoid() * c.tanh()
                states[at] = (x, c)
            token = choose(output(x))

    return draw


class Block(nn.Module):
    """A transformer block that remembers the keys and values of all tokens so far."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.cache = torch.zeros(2, 1, heads, length, width // heads)

    def forward(self, x: Tensor, at: int) -> Tensor:
        """(1, width), the token's place -> (1, width)"""
        q, k, v = self.qkv(self.norm1(x)).view(3, 1, self.cache.shape[2], 1, -1)
        self.cache[0, :, :, at], self.cache[1, :, :, at] = k[:, :, 0], v[:, :, 0]
        seen = F.scaled_dot_product_attention(
            q, self.cache[0, :, :, : at + 1], self.cache[1, :, :, : at + 1]
        )
        x = x + self.out(seen.reshape(1, -1))
        result: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return result


def gpt_loop(layers: int, heads: int, width: int, length: int) -> Callable[[int], None]:
    """A GPT that attends to everything it has written."""
    blocks = nn.ModuleList(Block(width, heads, length) for _ in range(layers))
    embedding, places = nn.Embedding(VOCABULARY, width), nn.Embedding(length, width)
    norm, output = nn.LayerNorm(width), nn.Linear(width, VOCABULARY)

    @torch.inference_mode()
    def draw(count: int) -> None:
        token = torch.zeros(1, 1, dtype=torch.long)
        for at in range(count):
            x = embedding(token[0]) + places.weight[at]
            for block in blocks:
                x = block(x, at)
            token = choose(output(norm(x)))

    return draw


def blas(found: Checkpoint) -> Callable[[int], None]:
    """Only the matrix-vector products that a token needs, each matrix as BLAS likes it best."""
    matrices = [
        weight
        for name, weight in found.weights.items()
        if weight.ndim == 2 and name not in {"embedding.weight", "layers.0.weight_input"}
    ]
    sides = [
        (m, np.ones(m.shape[1], np.float32), np.empty(m.shape[0], np.float32)) for m in matrices
    ]

    def draw(count: int) -> None:
        for _ in range(count):
            for matrix, vector, out in sides:
                np.dot(matrix, vector, out=out)

    return draw


def rates(sides: dict[str, Callable[[int], None]], seconds: float, rounds: int) -> dict[str, float]:
    """Tokens per second of each side: as many as fit into `seconds`, the best of `rounds`."""
    counts: dict[str, int] = {}
    for name, draw in sides.items():
        count = BATCH
        draw(count)  # compiled, loaded, warm
        while (took := _timed(draw, count)) < seconds / 4:
            count *= 2
        counts[name] = max(BATCH, round(count * seconds / took) // BATCH * BATCH)
    best = dict.fromkeys(sides, 0.0)
    for _ in range(rounds):
        for name, draw in sides.items():
            best[name] = max(best[name], counts[name] / _timed(draw, counts[name]))
    return best


def _timed(draw: Callable[[int], None], count: int) -> float:
    began = time.perf_counter()
    draw(count)
    return time.perf_counter() - began


def one_sequence(shapes: Sequence[tuple[int, int]], seconds: float, rounds: int) -> None:
    """The first table."""
    print("one sequence, tokens per second")
    print("layers x hidden    float32      int8   nn.LSTM     addmm", end="")
    print("  /nn.LSTM  /addmm  int8/float32  of BLAS")
    for layers, hidden in shapes:
        found = checkpoint(layers, hidden)
        sides = {
            "float32": ours(found),
            "int8": ours(found, "int8"),
            "lstm": lstm_loop(layers, hidden),
            "addmm": addmm_loop(layers, hidden),
            "blas": blas(found),
        }
        r = rates(sides, seconds, rounds)
        print(
            f"{f'{layers}x{hidden}':<15} {r['float32']:10,.0f}{r['int8']:10,.0f}{r['lstm']:10,.0f}"
            f"{r['addmm']:10,.0f} {r['float32'] / r['lstm']:9.1f} {r['float32'] / r['addmm']:7.1f}"
            f" {r['int8'] / r['float32']:13.2f} {r['float32'] / r['blas']:8.0%}",
            flush=True,
        )


def batch(shapes: Sequence[tuple[int, int]], seconds: float, rounds: int) -> None:
    """The second table."""
    print(f"\n{BATCH} sequences at once, tokens per second of all together")
    print("layers x hidden    float32      int8   nn.LSTM  /nn.LSTM")
    for layers, hidden in shapes:
        found = checkpoint(layers, hidden)
        sides = {
            "float32": ours(found, sequences=BATCH),
            "int8": ours(found, "int8", sequences=BATCH),
            "lstm": lstm_loop(layers, hidden, BATCH),
        }
        r = rates(sides, seconds, rounds)
        print(
            f"{f'{layers}x{hidden}':<15} {r['float32']:10,.0f}{r['int8']:10,.0f}{r['lstm']:10,.0f}"
            f" {r['float32'] / r['lstm']:9.2f}",
            flush=True,
        )


def gpt_width(parameters: int) -> int:
    """How wide a GPT of `GPT_LAYERS` layers is that has about so many parameters."""
    return round(math.sqrt(parameters / (12 * GPT_LAYERS)) / (8 * GPT_HEADS)) * 8 * GPT_HEADS


def transformer(shapes: Sequence[tuple[int, int]], lengths: Sequence[int], rounds: int) -> None:
    """The third table: by equal parameters, and by held-out loss."""
    print("\nover a GPT with a key-value cache, by tokens written")
    print(f"{'':<36}" + "".join(f"{length:>10,}" for length in lengths))
    pairs = {}
    for layers, hidden in shapes:
        found = checkpoint(layers, hidden)
        width = gpt_width(sum(array.size for array in found.weights.values()))
        gpt = gpt_loop(GPT_LAYERS, GPT_HEADS, width, max(lengths))
        pairs[f"{layers}x{hidden}, as many parameters"] = ours(found), gpt
    pairs["shakespeare, nanoGPT of no lower loss"] = shipped(), gpt_loop(*NANO_GPT, max(lengths))
    for name, (mine, gpt) in pairs.items():
        cells = []
        for length in lengths:
            mine(length)
            turns = rounds if length < max(GPT_LENGTHS) else 1
            times = [(_timed(mine, length), _timed(gpt, length)) for _ in range(turns)]
            ratio = min(theirs for _, theirs in times) / min(our for our, _ in times)
            cells.append(f"{ratio:10.1f}")
        print(f"{name:<36}" + "".join(cells), flush=True)


def whole_commands(rounds: int) -> None:
    """The fourth table: processes from start to end, once everything is compiled and cached."""
    python = sys.executable
    command = [python, "-c", "from generative.cli.main import main; main()"]
    sides = {
        'python -c "import torch"': [python, "-c", "import torch"],
        "generate text -n 1": [*command, "text", "-n", "1"],
        "generate --help": [*command, "--help"],
    }
    seconds = {name: min(_process(side) for _ in range(rounds)) for name, side in sides.items()}
    print("\nwhole commands, seconds, and over import torch")
    for name, took in seconds.items():
        print(f"{name:<26} {took:6.2f} {took / next(iter(seconds.values())):6.2f}")


def _process(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def int8_bits_per_char(text: Path) -> None:
    """What int8 costs on the end of a text, read as many parts side by side."""
    model = generative.load("shakespeare")
    assert isinstance(model, TextModel)
    found = model.checkpoint
    ids = np.array(model.tokenizer.encode(text.read_text(encoding="utf-8")[-INT8_CHARS:]))
    ids = ids[: len(ids) // BATCH * BATCH].reshape(BATCH, -1).T  # (T, B)
    bits = {}
    for precision in engine.PRECISIONS:
        stepper = engine.build(found.config, found.weights, precision=precision)
        state, total = stepper.initial_state(BATCH), 0.0
        last = np.full(BATCH, found.tokenizer.start_id)
        for row in ids:
            logits, state = stepper.step(last, state)
            wide = logits.astype(np.float64)
            total += float((np.logaddexp.reduce(wide, axis=1) - wide[range(BATCH), row]).sum())
            last = row
        bits[precision] = total / ids.size / math.log(2)
    print(f"\nbits per char of {ids.size:,} chars: float32 {bits['float32']:.4f},", end=" ")
    print(f"int8 {bits['int8']:.4f}, {bits['int8'] - bits['float32']:+.4f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small models, short rounds")
    parser.add_argument("--text", type=Path, help="held-out text: also what int8 costs on it")
    asked = parser.parse_args()
    quick: bool = asked.quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    seconds, rounds = (0.2, 2) if quick else (0.5, 6)
    shapes = SHAPES[:2] if quick else SHAPES
    one_sequence(shapes, seconds, rounds)
    batch(shapes, seconds, rounds)
    transformer(
        GPT_SHAPES[:1] if quick else GPT_SHAPES, GPT_LENGTHS[:2] if quick else GPT_LENGTHS, rounds
    )
    whole_commands(rounds)
    if asked.text:
        int8_bits_per_char(asked.text)


if __name__ == "__main__":
    main()
