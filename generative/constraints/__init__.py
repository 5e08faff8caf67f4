"""Constraints on text as masks over tokens. They must not know models or samplers."""

from generative.constraints.text import TextConstraint, compile_text

__all__ = ["TextConstraint", "compile_text"]
