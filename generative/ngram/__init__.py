"""Count models over token ids: static counts, a cache of the document, and how both are mixed."""
