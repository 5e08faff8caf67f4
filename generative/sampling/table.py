"""The table of the options of `generate`.

The table is the only list of them. What is built from it, or held equal to it by a test: the
processors of a request, the keywords of `generate`, the command line and docs/sampling.md. It must
not import NumPy, for which the help of the command line would have to wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The groups of options, in the order in which help and documentation show them.
DISTRIBUTION, TRUNCATION, REPETITION, TOKENS, ORDER, BEAMS, RESULTS = GROUPS = (
    "Whole distribution",
    "Truncation",
    "Repetition",
    "Single tokens",
    "Order",
    "Beam search",
    "Results",
)


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of `generate`.

    Attributes:
        name: the keyword in Python; with dashes for underscores the option of the command line.
        group: a member of `GROUPS`.
        type: the type of a value; None is permitted beside it and switches the option off.
        help: what it does, as a noun phrase or an imperative.
        neutral: the value that, like None, changes nothing.
        default: the value that is used where none is given, for options that refine another one.
        refines: that other option.
        metavar: how help shows the value.
        minimum: the least value, for whole numbers.
        choices: the permitted values, for names.
        source: where the method was published.
        make: "module.name" in this package of what makes the processor, from the value and the
            arguments that refine it.
        argument: the argument of the other option's `make`, for options that refine one.
        processor: the name of the processor in `samplers`, where it is not `name`.
        ranks_beams: whether the processor applies where nothing is drawn: in beam search by rank
            and at temperature 0.
    """

    name: str
    group: str
    type: Any
    help: str
    neutral: Any = None
    default: Any = None
    refines: str = ""
    metavar: str | None = None
    minimum: int | None = None
    choices: tuple[str, ...] = ()
    source: str = ""
    make: str = ""
    argument: str = ""
    processor: str = ""
    ranks_beams: bool = False


# Processors run in the order of the rows.
OPTIONS = (
    Option(
        name="repetition_penalty",
        group=REPETITION,
        type=float,
        neutral=1,
        metavar="X",
        help="Factor by which tokens that have occurred become less likely; below 1 more likely.",
        source="Keskar et al. 2019",
        make="penalties.RepetitionPenalty",
        ranks_beams=True,
    ),
    Option(
        name="presence_penalty",
        group=REPETITION,
        type=float,
        neutral=0,
        metavar="X",
        help="Amount to subtract once from the logit of each token that has occurred.",
        source="OpenAI",
        make="penalties.PresencePenalty",
        ranks_beams=True,
    ),
    Option(
        name="frequency_penalty",
        group=REPETITION,
        type=float,
        neutral=0,
        metavar="X",
        help="Amount to subtract from a token's logit for each time it has occurred.",
        source="OpenAI",
        make="penalties.FrequencyPenalty",
        ranks_beams=True,
    ),
    Option(
        name="dry_multiplier",
        group=REPETITION,
        type=float,
        neutral=0,
        metavar="X",
        help="Strength of DRY, which penalises a token the more, the longer a repetition it "
        "continues.",
        source="p-e-w 2024",
        make="penalties.Dry",
        processor="dry",
        ranks_beams=True,
    ),
    Option(
        name="dry_base",
        group=REPETITION,
        type=float,
        default=1.75,
        refines="dry_multiplier",
        argument="base",
        metavar="X",
        help="Growth of DRY's penalty with each repeated token.",
    ),
    Option(
        name="dry_allowed_length",
        group=REPETITION,
        type=int,
        default=2,
        refines="dry_multiplier",
        argument="allowed_length",
        metavar="N",
        minimum=1,
        help="Shortest repetition that DRY penalises, in tokens.",
    ),
    Option(
        name="dry_penalty_last_n",
        group=REPETITION,
        type=int,
        default=1024,
        refines="dry_multiplier",
        argument="last_n",
        metavar="N",
        minimum=1,
        help="Number of last tokens that DRY searches for repetitions.",
    ),
    Option(
        name="dry_sequence_breakers",
        group=REPETITION,
        type=Sequence[int],
        refines="dry_multiplier",
        argument="breakers",
        metavar="ID[,ID...]",
        help="Ids of the tokens at which DRY ends a repetition.",
    ),
    Option(
        name="logit_bias",
        group=TOKENS,
        type=Mapping[int, float],
        neutral={},
        metavar="ID=BIAS",
        help="Amount to add to the logit of the token with this id.",
        make="bans.LogitBias",
        ranks_beams=True,
    ),
    Option(
        name="allowed_tokens",
        group=TOKENS,
        type=Sequence[int],
        metavar="ID[,ID...]",
        help="Ids of the only tokens to allow.",
        make="bans.AllowedTokens",
        ranks_beams=True,
    ),
    Option(
        name="banned_tokens",
        group=TOKENS,
        type=Sequence[int],
        neutral=(),
        metavar="ID[,ID...]",
        help="Ids of tokens to forbid.",
        make="bans.BannedTokens",
        ranks_beams=True,
    ),
    Option(
        name="min_new_tokens",
        group=TOKENS,
        type=int,
        neutral=0,
        metavar="N",
        minimum=0,
        help="Number of new tokens before which to forbid the end.",
        make="bans.MinNewTokens",
        ranks_beams=True,
    ),
    Option(
        name="no_repeat_ngram_size",  # after bans and biases, so that it leaves a token they allow
        group=REPETITION,
        type=int,
        neutral=0,
        metavar="N",
        minimum=0,
        help="Length of token sequences that must not occur twice.",
        source="Paulus et al. 2018",
        make="penalties.NoRepeatNgram",
        ranks_beams=True,
    ),
    Option(
        name="temperature",
        group=DISTRIBUTION,
        type=float | Sequence[float],
        neutral=1,
        metavar="X[,Y...]",
        help="Divisor of the logits: below 1 is safer, above 1 more varied, 0 always takes the "
        "likeliest token. A list such as 1.2,0.6 moves from its first value to its last.",
        make="temperature.temperature_processor",
    ),
    Option(
        name="top_n_sigma",  # before other truncation, which would shrink the deviation
        group=TRUNCATION,
        type=float,
        neutral=0,
        metavar="N",
        help="Keep only logits within N standard deviations of the highest.",
        source="Tang et al. 2024",
        make="truncation.TopNSigma",
    ),
    Option(
        name="top_k",
        group=TRUNCATION,
        type=int,
        neutral=0,
        metavar="K",
        minimum=0,
        help="Keep only the K likeliest tokens.",
        source="Fan et al. 2018",
        make="truncation.TopK",
    ),
    Option(
        name="top_p",
        group=TRUNCATION,
        type=float,
        neutral=1,
        metavar="P",
        help="Keep only the likeliest tokens that reach probability P together.",
        source="Holtzman et al. 2020",
        make="truncation.TopP",
    ),
    Option(
        name="min_p",
        group=TRUNCATION,
        type=float,
        neutral=0,
        metavar="P",
        help="Keep only tokens at least P times as likely as the likeliest.",
        source="Nguyen et al. 2024",
        make="truncation.MinP",
    ),
    Option(
        name="typical_p",
        group=TRUNCATION,
        type=float,
        neutral=1,
        metavar="P",
        help="Keep only the tokens of most typical surprise that reach probability P together.",
        source="Meister et al. 2022",
        make="truncation.TypicalP",
    ),
    Option(
        name="epsilon_cutoff",
        group=TRUNCATION,
        type=float,
        neutral=0,
        metavar="P",
        help="Keep only tokens of probability P or more.",
        source="Hewitt et al. 2022",
        make="truncation.EpsilonCutoff",
    ),
    Option(
        name="eta_cutoff",
        group=TRUNCATION,
        type=float,
        neutral=0,
        metavar="P",
        help="Keep only tokens of probability P or more, with a lower bound where the distribution "
        "is flat.",
        source="Hewitt et al. 2022",
        make="truncation.EtaCutoff",
    ),
    Option(
        name="xtc_probability",
        group=TRUNCATION,
        type=float,
        neutral=0,
        metavar="P",
        help="Probability with which XTC drops all tokens above its threshold but the least likely "
        "of them.",
        source="p-e-w 2024",
        make="truncation.Xtc",
        processor="xtc",
    ),
    Option(
        name="xtc_threshold",
        group=TRUNCATION,
        type=float,
        default=0.1,
        refines="xtc_probability",
        argument="threshold",
        metavar="P",
        help="Probability above which XTC may drop a token.",
    ),
    Option(
        name="mirostat_tau",
        group=DISTRIBUTION,
        type=float,
        neutral=0,
        metavar="BITS",
        help="Surprise per token, in bits, at which mirostat holds the text.",
        source="Basu et al. 2021",
        make="truncation.Mirostat",
        processor="mirostat",
    ),
    Option(
        name="mirostat_eta",
        group=DISTRIBUTION,
        type=float,
        default=0.1,
        refines="mirostat_tau",
        argument="eta",
        metavar="X",
        help="Rate at which mirostat adapts.",
    ),
    Option(
        name="samplers",
        group=ORDER,
        type=Sequence[str],
        neutral=(),
        metavar="NAME[,NAME...]",
        help="Names of the processors to run after all others, in this order, such as "
        "top_p,temperature.",
    ),
    Option(
        name="num_beams",
        group=BEAMS,
        type=int,
        neutral=1,
        metavar="N",
        minimum=1,
        help="Number of hypotheses of a beam search; 1 samples.",
    ),
    Option(
        name="beam_method",
        group=BEAMS,
        type=str,
        neutral="search",
        choices=("search", "sample", "stochastic"),
        help="Choice of hypotheses: the likeliest (search), drawn token by token (sample), or "
        "whole sequences drawn without replacement (stochastic).",
        source="Kool et al. 2019",
    ),
    Option(
        name="length_penalty",
        group=BEAMS,
        type=float,
        neutral=0.0,
        metavar="X",
        help="Exponent of the length that divides the log-probability of a hypothesis.",
    ),
    Option(
        name="num_beam_groups",
        group=BEAMS,
        type=int,
        neutral=1,
        metavar="N",
        minimum=1,
        help="Number of groups of beams that avoid each other's tokens.",
        source="Vijayakumar et al. 2016",
    ),
    Option(
        name="diversity_penalty",
        group=BEAMS,
        type=float,
        neutral=0.0,
        metavar="X",
        help="Amount that a token loses for each hypothesis of an earlier group that took it.",
        source="Vijayakumar et al. 2016",
    ),
    Option(
        name="num_return_sequences",
        group=RESULTS,
        type=int,
        neutral=1,
        metavar="N",
        minimum=1,
        help="Number of sequences to draw, or of best beams to return.",
    ),
    Option(
        name="top_logprobs",
        group=RESULTS,
        type=int,
        metavar="N",
        minimum=0,
        help="Number of alternatives to report for each token, with all log-probabilities.",
    ),
    Option(
        name="seed",
        group=RESULTS,
        type=int,
        metavar="N",
        minimum=0,
        help="Seed for sampling; without one a seed is drawn and reported.",
    ),
)
