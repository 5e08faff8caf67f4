"""Learning: from token arrays to trained weights; knows no text, no MIDI and no command line."""
