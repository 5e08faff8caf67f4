"""The machine below: threads and compiled functions; knows no models."""
