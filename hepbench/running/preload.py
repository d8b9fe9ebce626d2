"""Imported once by the fork server: what workers would otherwise each import themselves.

A module that fails here is left out; the worker that needs it says why.
"""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from importlib import import_module

VARIABLE = "HEPBENCH_PRELOAD"


for _name in filter(None, os.environ.get(VARIABLE, "").split(",")):
    # anything but ImportError would kill the server
    with suppress(BaseException):
        import_module(_name)


# what lives here is never garbage: workers need not look at it, and so copy none of it
gc.collect()


gc.freeze()
