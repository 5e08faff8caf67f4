"""What the command line tells apart: a wrong option from work that failed."""


class OptionError(ValueError):
    """An option that is out of range or means nothing, wherever it is found; wrong usage."""
