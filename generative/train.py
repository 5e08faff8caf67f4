"""Launcher: `python -m generative.train CORPUS... -o DIR` is `generate train`.

`torchrun` starts it in each of several processes. Nothing imports it: the function
`generative.train` is that of `generative.api.training`.
"""

from __future__ import annotations

import sys

from generative.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
