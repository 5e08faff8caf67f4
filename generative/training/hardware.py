"""The devices and the number formats that training can use on this machine."""

from __future__ import annotations

import torch

from generative.errors import OptionError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MIN_BFLOAT16_SIZE = 192  # Narrower layers gain no speed by bfloat16.


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" is a GPU where there is one.

    Raises:
        ValueError: this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return found


def find_precision(name: str) -> torch.dtype | None:
    """The type of matrix products with that name; None for "auto".

    Raises:
        ValueError: an unknown name.
    """
    if name == "auto":
        return None
    if name not in PRECISIONS:
        raise ValueError(f"precision must be one of auto, {', '.join(PRECISIONS)}, not {name!r}")
    return PRECISIONS[name]


def precision_name(precision: torch.dtype) -> str:
    """A key of `PRECISIONS`."""
    return str(precision).removeprefix("torch.")


def choose_precision(
    wanted: torch.dtype | None, device: torch.device, hidden_size: int
) -> torch.dtype:
    """The type of a model's matrix products: as asked, or bfloat16 where the processor has it.

    The choice depends on no timing, so that the same command gives the same model.

    Args:
        wanted: what the user asked for; None leaves the choice to the processor and the model.
        device: where the model is trained.
        hidden_size: the width of its layers.

    Raises:
        OptionError: bfloat16 was asked for, and this processor cannot train a layer in it.
    """
    on_cpu = device.type == "cpu"
    if wanted is not None:
        is_cpu_half = on_cpu and wanted == torch.bfloat16
        if is_cpu_half and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            raise OptionError("this processor has no bfloat16: use --precision float32")
        return wanted
    if on_cpu:
        has_it = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    else:
        has_it = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if has_it and hidden_size >= MIN_BFLOAT16_SIZE else torch.float32
