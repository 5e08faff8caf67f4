"""The command `generate`; everything it does is done by `generative.api`."""

from generative.cli.main import main

__all__ = ["main"]
