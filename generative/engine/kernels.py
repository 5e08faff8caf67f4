"""The compiled loop, which reads and draws tokens. It must not know torch or text.

One call of `run` reads any number of tokens and then draws any number, so that the interpreter runs
once for hundreds of tokens and a token costs little more than reading the weights.

The matrix products are written here instead of calling BLAS through `np.dot`, which would need
SciPy at run time and is not faster for a vector. Where the weights do not fit into the caches, both
wait for memory (17 and 29 GB/s either way where this was measured). Where they fit, four rows at a
time in explicit vectors read 105-123 GB/s, OpenBLAS 83-92 GB/s, and the same loop left to LLVM's
vectoriser 72-84 GB/s. For int8 the vectoriser used a quarter of the registers; the explicit loop,
with the vector in 16 bits, compiles to multiply-and-add of pairs and reads the equivalent of
100-180 GB/s of float32. A vector of 8 bits was slower, since it has to be widened, and less exact;
with a vector of float32 the loop read 80-100 GB/s. A batch of 64 in blocks of four rows by four
vectors does 83-130 billion operations a second, NumPy's `h @ weight.T` 95 billion.

The context features that the network reads and the count models beside it are those of
`generative.context` and `generative.ngram`, compiled into the same loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from generative.context import compiled as context_compiled
from generative.machine import compiling
from generative.machine.compiling import cached_with, inner, sigmoid, smooth, tanh
from generative.ngram import compiled, operations, records

if TYPE_CHECKING:
    from numpy.typing import NDArray

if not compiling.is_possible():
    raise ImportError("numba is told to compile nothing (NUMBA_DISABLE_JIT)")

NOTE = "compiling the sampling loop for this machine: once, some ten seconds"
# A float32 product computes this many rows at a time, which share each read of the vector, and for
# a batch this many columns; all their sums fit into registers.
ROWS, COLUMNS = 4, 4
FLOAT_LANES = 16
INT8_LANES = 64


# The numbers by which `run` tells the cells apart that it has a step for.
LSTM, GRU = 0, 1
CELL_NUMBERS = {"lstm": LSTM, "gru": GRU}


class Network(NamedTuple):
    """Weights laid out for `run`: rows padded to whole vectors of P numbers, the gates to R rows.

    `is_int8` decides whether the matrices (float32) or their int8 counterparts and scales are read;
    the others are empty. There are L layers; the lowest reads the tables instead of `inputs`.
    """

    cell: int  # one of `CELL_NUMBERS`
    table: NDArray[np.float32]  # (V, R)
    feature_table: NDArray[np.float32]  # (W, R), for each value of the context features
    biases: NDArray[np.float32]  # (L - 1, R)
    inputs: NDArray[np.float32]  # (L - 1, R, P)
    hidden: NDArray[np.float32]  # (L, R, P)
    output: NDArray[np.float32]  # (1, V padded, P)
    inputs_int8: NDArray[np.int8]
    hidden_int8: NDArray[np.int8]
    output_int8: NDArray[np.int8]
    inputs_scale: NDArray[np.float32]  # (L - 1, R)
    hidden_scale: NDArray[np.float32]  # (L, R)
    output_scale: NDArray[np.float32]  # (1, V padded)
    output_bias: NDArray[np.float32]  # (V padded,)
    sum_layers: bool
    is_int8: bool
    int8_units: np.float32  # the number of steps of the 16-bit vector that make 1.0


def _emit_sums(
    context: Any, builder: Any, signature: Any, args: Any, shape: tuple[int, int], wide: Any
) -> list[Any]:
    """Emit sums, a vector at a time, of matrix[row + i] * vectors[b + j] for i, j below `shape`.

    `args` are matrix (R, P), row, vectors (B, P), b. LLVM maps the generic vectors to the registers
    of the machine. Returns the vectors of sums, the last index fastest.
    """
    whole = isinstance(wide.element, ir.IntType)
    matrix, vectors = (
        context.make_array(signature.args[at])(context, builder, args[at]) for at in (0, 2)
    )
    width = cgutils.unpack_tuple(builder, matrix.shape)[1]

    def starts(data: Any, first: Any, count: int) -> list[Any]:
        numbers = [builder.add(first, ir.Constant(width.type, i)) for i in range(count)]
        return [builder.gep(data, [builder.mul(number, width)]) for number in numbers]

    def load(start: Any, index: Any) -> Any:
        narrow = ir.VectorType(start.type.pointee, wide.count)
        address = builder.bitcast(builder.gep(start, [index]), narrow.as_pointer())
        value = builder.load(address, align=1)
        return builder.sext(value, wide) if whole else value

    def add_product(total: Any, w: Any, x: Any) -> Any:
        if whole:
            return builder.add(total, builder.mul(w, x))
        return builder.fadd(total, builder.fmul(w, x, flags=_FUSE), flags=_FUSE)

    rows = starts(matrix.data, args[1], shape[0])
    columns = starts(vectors.data, args[3], shape[1])
    zeros = ir.Constant(wide, [0 if whole else 0.0] * wide.count)
    sums = [[cgutils.alloca_once_value(builder, zeros) for _ in columns] for _ in rows]
    first, step = ir.Constant(width.type, 0), ir.Constant(width.type, wide.count)
    with cgutils.for_range_slice(builder, first, width, step) as (index, _):
        xs = [load(start, index) for start in columns]
        for start, totals in zip(rows, sums, strict=True):
            w = load(start, index)
            for total, x in zip(totals, xs, strict=True):
                builder.store(add_product(builder.load(total), w, x), total)
    return [builder.load(total) for totals in sums for total in totals]


_FUSE = ("contract",)


def _emit_totals(builder: Any, vectors: list[Any]) -> list[Any]:
    """Emit the sum of each of 1, 2, 4 ... vectors of as many lanes at least.

    Pairs of vectors are folded into one, the halves of the first beside those of the second, so
    that all lanes are used. Each sum adds lanes i and i + half, with whatever it is folded.
    """
    count, lanes = len(vectors), vectors[0].type.count
    segment = lanes  # lanes that still belong to one sum
    while segment > 1:
        segment //= 2
        if len(vectors) > 1:
            pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
            places = range(2 * lanes)
        else:
            pairs = [(vectors[0], vectors[0])]
            places = range(lanes)
        halves = [[at + half for at in places if at // segment % 2 == 0] for half in (0, segment)]
        vectors = [_emit_folded(builder, *pair, halves, lanes) for pair in pairs]
    return [
        builder.extract_element(vectors[0], ir.Constant(ir.IntType(32), i)) for i in range(count)
    ]


def _emit_folded(builder: Any, a: Any, b: Any, halves: list[list[int]], lanes: int) -> Any:
    """Emit the sum of two choices of lanes from a and b; the other lanes are undefined."""
    kind = ir.VectorType(ir.IntType(32), lanes)
    chosen = [
        builder.shuffle_vector(a, b, ir.Constant(kind, [*half, *[0] * (lanes - len(half))]))
        for half in halves
    ]
    return builder.fadd(*chosen)


def _dot_float(columns: int) -> Any:
    """A function: ROWS rows of matrix (R, P) times `columns` of vectors (B, P), all float32."""
    shape = (ROWS, columns)

    @intrinsic
    def dot(_: Any, matrix: Any, row: Any, vectors: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            wide = ir.VectorType(ir.FloatType(), FLOAT_LANES)
            sums = _emit_sums(context, builder, signature, args, shape, wide)
            totals = _emit_totals(builder, sums)
            return context.make_tuple(builder, signature.return_type, totals)

        result = types.UniTuple(types.float32, ROWS * columns)
        return result(matrix, row, vectors, b), generate

    return dot


_dot_one, _dot_some = _dot_float(1), _dot_float(COLUMNS)


def _dot_one_int8(_: Any, matrix: Any, row: Any, vectors: Any, b: Any) -> Any:
    """matrix[row] @ vectors[b], exact. (R, P) int8, (B, P) int16 -> int32"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one = ir.IntType(32)
        wide = ir.VectorType(one, INT8_LANES)
        reduce = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(one, [wide]),
            f"llvm.vector.reduce.add.v{INT8_LANES}i32",
        )
        (total,) = _emit_sums(context, builder, signature, args, (1, 1), wide)
        return builder.call(reduce, [total])

    return types.int32(matrix, row, vectors, b), generate


_dot_int8: Any = intrinsic(_dot_one_int8)


@inner
def _add_product(
    is_int8: Any,
    matrix: Any,
    whole: Any,
    scales: Any,
    vectors: Any,
    int16: Any,
    unit: Any,
    out: Any,
) -> None:
    """out += vectors @ matrix.T, each row of the matrix read once for all B vectors.

    Args:
        is_int8: whether `whole` (R, P), `scales` (R,) and `int16` (B, P) are used, or else `matrix`
            (R, P) and `vectors` (B, P).
        unit: the value of 1 in `int16`.
        out: (B, R)

    A sum is computed in the same order for every B, so that a row of a batch has the bits that it
    has alone.
    """
    batch, rows = out.shape
    if is_int8:
        for row in range(rows):
            worth = scales[row] * unit
            for b in range(batch):
                out[b, row] += worth * np.float32(_dot_int8(whole, row, int16, b))
        return
    many = batch - batch % COLUMNS
    for row in range(0, rows, ROWS):
        for begin in range(0, many, COLUMNS):
            block = _dot_some(matrix, row, vectors, begin)
            for i in range(ROWS):
                for j in range(COLUMNS):
                    out[begin + j, row + i] += block[COLUMNS * i + j]
        for b in range(many, batch):
            column = _dot_one(matrix, row, vectors, b)
            for i in range(ROWS):
                out[b, row + i] += column[i]


_HALF, _ONE = np.float32(0.5), np.float32(1.0)


@smooth
def _lstm(gates: Any, h: Any, c: Any) -> None:
    """The step of `model.cells.LSTM`. (R,), and h (H,), c (H,), which become the new ones."""
    size = c.shape[0]
    i, f, g, o = (
        gates[:size],
        gates[size : 2 * size],
        gates[2 * size : 3 * size],
        gates[3 * size : 4 * size],
    )
    for j in range(size):
        c[j] = sigmoid(f[j]) * c[j] + sigmoid(i[j]) * tanh(g[j])
    for j in range(size):
        h[j] = sigmoid(o[j]) * tanh(c[j])


@smooth
def _gru(from_input: Any, from_state: Any, h: Any) -> None:
    """The step of `model.cells.GRU`. (R,), (R,), and h (H,), which becomes the new one."""
    size = h.shape[0]
    r, z, n = from_input[:size], from_input[size : 2 * size], from_input[2 * size : 3 * size]
    rs, zs, ns = from_state[:size], from_state[size : 2 * size], from_state[2 * size : 3 * size]
    for j in range(size):
        update = sigmoid(z[j] + zs[j])
        new = tanh(n[j] + sigmoid(r[j] + rs[j]) * ns[j])
        h[j] = (_ONE - update) * new + update * h[j]


@inner
def _to_int16(values: Any, units: Any, out: Any) -> None:
    """The nearest whole numbers of units. (H,) -> (H,)"""
    for j in range(values.shape[0]):
        out[j] = np.int16(np.floor(values[j] * units + _HALF))


_read_context = context_compiled.COMPILED.read


@inner
def _read_in(net: Any, context: Any, memory: Any, tokens: Any, features: Any, gates: Any) -> None:
    """What the lowest layer reads of a token a row: fill gates (B, R).

    tokens: (B,); memory: (B, M), which becomes the new one; features: scratch (F,).
    """
    for b in range(tokens.shape[0]):
        gates[b] = net.table[tokens[b]]
        if context.is_on:
            _read_context(context, memory, b, tokens[b], features)
            for place in range(features.shape[0]):
                for j in range(gates.shape[1]):
                    gates[b, j] += net.feature_table[features[place], j]


@inner
def _advance(net: Any, h: Any, h_int16: Any, c: Any, gates: Any, from_state: Any) -> None:
    """Step all layers, where the lowest one has read gates, (B, R).

    h: (L, B, P), h_int16: (L, B, P), c: (L or 0, B, H), which become the new state; `gates` is
    edited, and `from_state` is scratch. (B, R)
    """
    layers, batch, size = h.shape[0], h.shape[1], c.shape[2]
    is_lstm = net.cell == LSTM
    unit = _ONE / net.int8_units
    recurrent = gates if is_lstm else from_state
    for layer in range(layers):
        if layer > 0:
            for b in range(batch):
                gates[b] = net.biases[layer - 1]
            _add_product(
                net.is_int8, net.inputs[layer - 1], net.inputs_int8[layer - 1],
                net.inputs_scale[layer - 1], h[layer - 1], h_int16[layer - 1], unit, gates,
            )  # fmt: skip
        if not is_lstm:
            from_state[:] = 0
        _add_product(
            net.is_int8, net.hidden[layer], net.hidden_int8[layer], net.hidden_scale[layer],
            h[layer], h_int16[layer], unit, recurrent,
        )  # fmt: skip
        for b in range(batch):
            out = h[layer, b, :size]
            if is_lstm:
                _lstm(gates[b], out, c[layer, b])
            else:
                _gru(gates[b], from_state[b], out)
            if net.is_int8:
                _to_int16(out, net.int8_units, h_int16[layer, b])


@inner
def _read_out(net: Any, h: Any, features: Any, features_int16: Any, logits: Any) -> None:
    """The output layer. h: (L, B, P) -> logits (B, V padded); the features are scratch. (B, P)"""
    layers, batch = h.shape[:2]
    features[:] = h[layers - 1]
    bound = 1
    if net.sum_layers:
        bound = layers  # each layer's output lies within -1 and 1
        features[:] = h[0]
        for layer in range(1, layers):
            features += h[layer]
    units = net.int8_units / np.float32(bound)
    for b in range(batch):
        logits[b] = net.output_bias
        if net.is_int8:
            _to_int16(features[b], units, features_int16[b])
    _add_product(
        net.is_int8, net.output[0], net.output_int8[0], net.output_scale[0], features,
        features_int16, _ONE / units, logits,
    )  # fmt: skip


_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_SMALLEST = -700.0  # e to this is a normal number; e to smaller values is taken as 0
_EXPONENT_BIAS, _MANTISSA_BITS = 1023, 52


@inner
def _exp(values: Any, bits: Any, out: Any) -> None:
    """e to each value that is not above 0, in float64, to the last digit or two. (V,) -> (V,)

    It has no call and no branch, so that it is vectorised. `bits` is scratch. (V,)
    """
    powers = bits.view(np.float64)
    for j in range(values.shape[0]):
        x = max(values[j], _SMALLEST)
        n = np.floor(x * _LOG2_E + 0.5)
        r = (x - n * _LN2_HIGH) - n * _LN2_LOW
        p = 1 / 479001600
        p = p * r + 1 / 39916800
        p = p * r + 1 / 3628800
        p = p * r + 1 / 362880
        p = p * r + 1 / 40320
        p = p * r + 1 / 5040
        p = p * r + 1 / 720
        p = p * r + 1 / 120
        p = p * r + 1 / 24
        p = p * r + 1 / 6
        p = p * r + 0.5
        p = p * r + 1.0
        p = p * r + 1.0
        out[j] = p if values[j] >= _SMALLEST else 0.0
        bits[j] = (np.int64(n) + _EXPONENT_BIAS) << _MANTISSA_BITS
    for j in range(values.shape[0]):
        out[j] *= powers[j]


@inner
def _is_before(scores: Any, a: Any, b: Any) -> Any:
    """Whether token a has the better place: a higher score, or among equals the lower id."""
    return (scores[a] > scores[b]) | ((scores[a] == scores[b]) & (a < b))


@inner
def _keep_best(scores: Any, count: Any, mass: Any, weights: Any, ids: Any) -> None:
    """Set to 0 the weights of all but the best tokens: `count` of them, or those that reach `mass`.

    (V,) each: `scores` rank; `weights` are unnormalised probabilities; `ids` is scratch. Nothing is
    sorted: the ids are partitioned around one of them, and then again on the side of the cut.
    """
    end, total = 0, 0.0
    for j in range(weights.shape[0]):
        ids[end] = j
        end += weights[j] > 0
        total += weights[j]
    size, begin = end, 0
    mass *= total
    sure = 0.0  # the weight of all before `begin`, which are kept
    while begin < end:
        middle = (begin + end) // 2
        pivot = ids[middle]
        ids[middle] = ids[end - 1]
        place, before = begin, sure
        for at in range(begin, end - 1):
            token = ids[at]
            better = _is_before(scores, token, pivot)
            ids[at] = ids[place]
            ids[place] = token
            place += 1 if better else 0
            before += weights[token] if better else 0.0
        ids[end - 1] = ids[place]
        ids[place] = pivot
        if place == 0 or (place < count and before < mass):
            begin, sure = place + 1, before + weights[pivot]
        else:
            end = place
    for place in range(begin, size):
        weights[ids[place]] = 0.0


@inner
def _typical(mass: Any, weights: Any, scores: Any, ids: Any) -> None:
    """The effect of `truncation.TypicalP`. (V,) each; all but `weights` are scratch."""
    total = weights.sum()
    entropy = 0.0
    for j in range(weights.shape[0]):
        if weights[j] > 0:
            scores[j] = -np.log(weights[j] / total)
            entropy += weights[j] / total * scores[j]
    for j in range(weights.shape[0]):
        scores[j] = -abs(scores[j] - entropy)
    _keep_best(scores, weights.shape[0], mass, weights, ids)


@inner
def _process(chain: Any, scores: Any, weights: Any, ids: Any, bits: Any) -> None:
    """Apply the chain to `scores`, logits less their maximum, and to `weights`, e to the scores.

    Both are edited. (V,) each
    """
    size = scores.shape[0]
    if chain.temperature != 1:
        for j in range(size):
            scores[j] /= chain.temperature
        _exp(scores, bits, weights)
    if chain.top_k < size:
        _keep_best(scores, chain.top_k, np.inf, weights, ids)
    if chain.top_p < 1:
        _keep_best(scores, size, chain.top_p, weights, ids)
    if chain.min_p_log > -np.inf:
        for j in range(size):
            if scores[j] < chain.min_p_log:
                weights[j] = 0.0
    if chain.typical_p < 1:
        _typical(chain.typical_p, weights, scores, ids)


@inner
def _draw(
    chain: Any,
    logits: Any,
    uniform: Any,
    scores: Any,
    weights: Any,
    ids: Any,
    bits: Any,
) -> Any:
    """One token and the model's own ln p of it, as `truncation` and `samplers` compute it.

    logits: (V,); from `scores` on (V,) scratch.
    """
    size = scores.shape[0]
    best = 0
    for j in range(1, size):
        if logits[j] > logits[best]:
            best = j
    top = np.float64(logits[best])
    for j in range(size):
        scores[j] = np.float64(logits[j]) - top
    _exp(scores, bits, weights)
    log_total = np.log(weights.sum())
    if chain.greedy:
        return best, -log_total
    _process(chain, scores, weights, ids, bits)
    total = 0.0
    for j in range(size):
        total += weights[j]
    point = min(uniform * total, np.nextafter(total, 0.0))
    token, reached = best, 0.0
    for j in range(size):
        reached += weights[j]
        if reached > point:
            token = j
            break
    return token, np.float64(logits[token]) - top - log_total


_append, _mix = compiled.COMPILED.append, compiled.COMPILED.mix


@inner
def _read_counts(counts: Any, history: Any, tokens: Any) -> None:
    """Read a token a row into what the count models look at. (B,)"""
    if counts.is_on:
        for b in range(tokens.shape[0]):
            _append(counts, history, b, tokens[b])


@inner
def _mix_counts(counts: Any, history: Any, scratch: Any, predicted: Any, logits: Any) -> None:
    """Mix the network's logits, (B, V padded), with counts; `predicted` is scratch. (2, V)"""
    if counts.is_on:
        for b in range(logits.shape[0]):
            row = logits[b, : predicted.shape[1]]
            _mix(counts, history, b, scratch, predicted[0], predicted[1], row)


@cached_with(operations.__file__, records.__file__, compiled.__file__, *context_compiled.SOURCES)
def run(  # noqa: PLR0913, PLR0917 - a compiled function takes its arrays one by one
    net: Any, context: Any, counts: Any, tokens: Any, h: Any, c: Any, memory: Any, history: Any,
    scratch: Any, logits: Any, chain: Any, uniforms: Any, end_id: Any, drawn: Any, logprobs: Any,
) -> Any:  # fmt: skip
    """Read `tokens`, then draw one token a row for each of `uniforms`, reading what was drawn.

    Args:
        net: a `Network`.
        context: a `context.records.Tables`.
        counts: an `ngram.records.Tables`.
        tokens: what to read first. (T, B) int64, T >= 0
        h, c: the state, (L, B, H) each, or (0, B, H) for a cell without c; they become the new one.
        memory: what the context features depend on; it becomes the new one. (B, M)
        history: an `ngram.records.History` with room for all; it becomes the new one.
        scratch: an `ngram.records.Scratch`.
        logits: for the next token, used if T = 0; they become those after the last. (B, V)
        chain: a `sampling.plain.PlainChain`.
        uniforms: numbers in [0, 1). (N, B), N >= 0
        end_id: the step in which a row draws it is the last; -1 never comes.
        drawn, logprobs: filled. (N, B) int64, (N, B) float64

    Returns:
        how many of N were drawn.

    Raises:
        ValueError: the network's cell has a number for which there is no step.
    """
    if net.cell not in (LSTM, GRU):
        raise ValueError("the compiled loop has no step for a cell of this number")
    layers, batch, size = h.shape
    vocab = logits.shape[1]
    rows, width = net.table.shape[1], max(net.hidden.shape[2], net.hidden_int8.shape[2])
    h_padded = np.zeros((layers, batch, width), np.float32)
    h_padded[:, :, :size] = h
    h_int16 = np.zeros((layers, batch, width), np.int16)
    if net.is_int8:
        for layer in range(layers):
            for b in range(batch):
                _to_int16(h[layer, b], net.int8_units, h_int16[layer, b])
    gates, from_state = np.zeros((batch, rows), np.float32), np.zeros((batch, rows), np.float32)
    context_features = np.empty(context.sizes.shape[0], np.int64)
    features = np.zeros((batch, width), np.float32)
    features_int16 = np.zeros((batch, width), np.int16)
    logits_padded = np.zeros((batch, net.output_bias.shape[0]), np.float32)
    logits_padded[:, :vocab] = logits
    scores, weights = np.empty(vocab, np.float64), np.empty(vocab, np.float64)
    ids, bits = np.empty(vocab, np.int64), np.empty(vocab, np.int64)
    predicted = np.empty((2, vocab), np.float32)

    for t in range(tokens.shape[0]):
        _read_in(net, context, memory, tokens[t], context_features, gates)
        _advance(net, h_padded, h_int16, c, gates, from_state)
        _read_counts(counts, history, tokens[t])
    if tokens.shape[0] > 0:
        _read_out(net, h_padded, features, features_int16, logits_padded)
        _mix_counts(counts, history, scratch, predicted, logits_padded)
    count, ended = 0, False
    while count < uniforms.shape[0] and not ended:
        for b in range(batch):
            token, logprob = _draw(
                chain, logits_padded[b], uniforms[count, b], scores, weights, ids, bits
            )
            drawn[count, b] = token
            logprobs[count, b] = logprob
            ended |= token == end_id
        _read_in(net, context, memory, drawn[count], context_features, gates)
        _advance(net, h_padded, h_int16, c, gates, from_state)
        _read_counts(counts, history, drawn[count])
        _read_out(net, h_padded, features, features_int16, logits_padded)
        _mix_counts(counts, history, scratch, predicted, logits_padded)
        count += 1
    h[:] = h_padded[:, :, :size]
    logits[:] = logits_padded[:, :vocab]
    return count


def call(*arguments: Any) -> int:
    """Call `run`, with a line on stderr (or in the log) if it has to be compiled first."""
    return cast("int", compiling.call(run, NOTE, *arguments))
