"""Corpora read and tokenised into stores of token ids on disk, with their labels."""
