"""Import large libraries once in the fork server, so that no worker needs to import them.

A module that cannot be imported is skipped; the worker that needs it reports the error.
"""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from importlib import import_module

from hepbench.running.trace import PRELOAD

for _name in filter(None, os.environ.get(PRELOAD, "").split(",")):
    # any error would end the server
    with suppress(BaseException):
        import_module(_name)


# workers never collect objects that exist now, so their memory pages stay shared
gc.collect()


gc.freeze()
