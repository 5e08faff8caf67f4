"""How likely data is under a model: the loss, its units, dynamic evaluation, copied passages."""
