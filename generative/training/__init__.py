"""Training: from token arrays to trained weights.

It must not know text, MIDI or the command line.
"""
