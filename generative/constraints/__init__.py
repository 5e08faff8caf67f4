"""What text must be, as a mask over tokens: knows bytes and automata, not models or samplers."""

from generative.constraints.text import TextConstraint, compile_text

__all__ = ["TextConstraint", "compile_text"]
