"""Store and load estimators: plain values as JSON, arrays as npy, scikit-learn objects by skops.

Nothing is unpickled.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.specs.errors import PluginError, ResultsError

if TYPE_CHECKING:
    from pathlib import Path


def save(estimator: Any, folder: Path) -> None:
    """Store the attributes of a fitted estimator in a folder.

    Raises:
        PluginError: a value cannot be stored safely; the message names it.
        OSError: a file cannot be written.
    """
    state = vars(estimator)
    plain = {name: value for name, value in state.items() if _is_plain(value)}
    arrays = {name: value for name, value in state.items() if _is_array(value)}
    objects = {n: v for n, v in state.items() if n not in plain and n not in arrays}
    (folder / "state.json").write_text(json.dumps(plain))
    if arrays:
        np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)
    if objects:
        _dump_objects(objects, folder / "objects.skops", estimator)


def load(estimator: Any, folder: Path) -> Any:
    """Load stored attributes into a newly built estimator, and return the estimator.

    Raises:
        ResultsError: a file is damaged, or holds a type that the estimator does not trust.
    """
    try:
        state = json.loads((folder / "state.json").read_bytes())
        if (path := folder / "arrays.npz").exists():
            with np.load(path, allow_pickle=False) as arrays:
                state |= dict(arrays)
    except (OSError, ValueError) as error:
        msg = f"{folder}: the stored estimator is incomplete: {error}"
        raise ResultsError(msg) from error
    if (path := folder / "objects.skops").exists():
        state |= _load_objects(path, getattr(estimator, "trusts", ()))
    vars(estimator).update(state)
    return estimator


def _is_plain(value: Any) -> bool:
    try:
        return type(value) is not tuple and bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and not value.dtype.hasobject


def _dump_objects(objects: dict[str, Any], path: Path, estimator: Any) -> None:
    from skops import io

    where = f"{type(estimator).__name__}: cannot store {', '.join(objects)}"
    try:
        io.dump(objects, path)
        untrusted = set(io.get_untrusted_types(file=path)) - set(getattr(estimator, "trusts", ()))
    except OSError:
        raise
    except Exception as error:
        msg = f"{where}: {error}"
        raise PluginError(msg) from error
    if untrusted:
        msg = f"{where}: {', '.join(sorted(untrusted))} is not listed in 'trusts' of the estimator"
        raise PluginError(msg)


def _load_objects(path: Path, trusts: Any) -> dict[str, Any]:
    from skops import io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        state: dict[str, Any] = io.load(path, trusted=list(trusts))
    except UntrustedTypesFoundException as error:
        msg = f"{path.name}: {error}; the estimator may list this type in 'trusts'"
        raise ResultsError(msg) from error
    except Exception as error:
        msg = f"{path} is damaged: {type(error).__name__}: {error}"
        raise ResultsError(msg) from error
    return state
