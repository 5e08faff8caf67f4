"""Pieces as ids: the vocabulary, the grammar of valid sequences, limits and melodies."""
