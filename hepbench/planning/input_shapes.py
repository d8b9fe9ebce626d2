"""Input shapes: whether a model can take a dataset's inputs, known before data are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.registry.resolve import resolve
from hepbench.specs.errors import HepbenchError, PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.specs.dataset import Dataset, Input
    from hepbench.specs.model import Model
    from hepbench.specs.types import Array, Params

Shapes = dict[str, tuple[int, ...]]


def shape_misfit(dataset: Dataset, model: Model, of_dataset: Params, of_model: Params) -> str:
    """Return why the shapes of a dataset's inputs do not fit a model, or '' if they fit.

    An error in a view or in ``fits`` is returned too, so that other combinations can be planned.

    Args:
        dataset: it has all inputs of the model.
        model: its function ``fits`` decides, if it has one.
        of_dataset, of_model: values of all parameters of the dataset and of the model.
    """
    if not model.fits:
        return ""
    try:
        shapes = shapes_of(dataset, model.inputs, of_dataset)
        reason = why_unfit(model, shapes, of_model)
    except HepbenchError as error:
        return str(error)
    return f"{model.name} does not fit {dataset.name}: {reason}" if reason else ""


def why_unfit(model: Model, shapes: Mapping[str, tuple[int, ...]], params: Params) -> str:
    """Return the reason that a model's function ``fits`` gives against these shapes, or ''.

    Raises:
        PluginError: the function fails, or does not return one line of text.
    """
    if not model.fits:
        return ""
    own = {name: value for name, value in params.items() if name != "preprocess"}
    try:
        reason = resolve(model.fits)(dict(shapes), **own)
    except Exception as error:
        msg = (
            f"model {model.name}: its function {model.fits} fails: {type(error).__name__}: {error}"
        )
        raise PluginError(" ".join(msg.split())) from error
    if not isinstance(reason, str) or len(reason.splitlines()) > 1:
        msg = f"{model.name}: {model.fits} returns {reason!r}; one line of text, or '', is expected"
        raise PluginError(msg)
    return reason


def shapes_of(dataset: Dataset, names: tuple[str, ...], params: Params) -> Shapes:
    """Return the shapes of a dataset's inputs and views, from views of empty arrays.

    Raises:
        HepbenchError: a view refuses the parameters of its dataset.
        PluginError: a view cannot be applied to zero examples.
    """
    return {
        name: _shape_of_view(dataset, name, params)
        if name in dataset.views
        else tuple(dataset.inputs[name].shape)
        for name in names
    }


def _shape_of_view(dataset: Dataset, name: str, params: Params) -> tuple[int, ...]:
    view = dataset.views[name]
    inputs = {each: _empty_input(each, given) for each, given in dataset.inputs.items()}
    try:
        made = resolve(view.run)(inputs, **{n: params[n] for n in sorted(view.params)})
        return tuple(int(n) for n in made[name].shape[1:])
    except HepbenchError:
        raise
    except Exception as error:
        where = f"{dataset.name}: view '{name}' applied to zero examples"
        msg = f"{where}: {type(error).__name__}: {error}"
        raise PluginError(" ".join(msg.split())) from error


def _empty_input(name: str, given: Input) -> Array:
    """Return an input with zero examples, like those that a dataset's reader yields."""
    import numpy as np

    from hepbench.specs.sparse_images import SparseImages

    if given.sparse:
        return SparseImages.from_dense(np.zeros((0, *given.shape), np.float32))
    return np.zeros((0, *given.shape), bool if name == "mask" else np.float32)
