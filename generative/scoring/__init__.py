"""How likely a model finds data: the loss, its units, scoring while learning, copied runs."""
