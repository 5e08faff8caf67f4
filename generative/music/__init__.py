"""Music as notes and time: pieces, files, sound and pictures; knows no tokens and no models."""
