"""What the command line tells apart: a wrong option from work or files that failed."""


class OptionError(ValueError):
    """An option that is out of range or means nothing, wherever it is found; wrong usage."""


class CorpusError(ValueError):
    """A corpus cannot be read; the message says which file, where, and how to mend it."""


class FileError(OSError):
    """A file or folder that cannot be written, or is missing or damaged; the message says which."""
