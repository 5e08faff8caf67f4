"""From a corpus to ids on disk: files, encodings, labels, the token store; knows no models."""
