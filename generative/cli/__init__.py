"""The command `generate`: reads options, calls `generative.api` and prints the results."""

from generative.cli.main import main

__all__ = ["main"]
