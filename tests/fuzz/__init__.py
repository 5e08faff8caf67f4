"""Fuzzing: targets that take any bytes and raise only on a bug; see `tests.fuzz.runner`."""
