"""Threads and compiled functions; models are not known here."""
