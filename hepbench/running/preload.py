"""Imports modules once in the fork server, which every worker would otherwise import itself.

A module that fails to import is skipped; a worker that needs it reports the error.
"""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from importlib import import_module

VARIABLE = "HEPBENCH_PRELOAD"


for _name in filter(None, os.environ.get(VARIABLE, "").split(",")):
    # any exception would end the server
    with suppress(BaseException):
        import_module(_name)


# imported objects are never garbage: frozen, they are not visited, and so not copied, by workers
gc.collect()


gc.freeze()
