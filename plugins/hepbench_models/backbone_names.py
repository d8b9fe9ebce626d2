"""Which backbones of timm and torch-geometric exist, read from their files; imports neither."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NEAR = 3
"""Number of near names that a message offers for an unknown one."""

SET_FOR_TIMM = (
    *("in_chans", "img_size", "num_classes"),
    *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path"),
)
"""Arguments of timm that follow from the dataset, or would load weights."""

SET_FOR_GNN = ("in_channels", "hidden_channels", "num_layers", "out_channels", "deg")
"""Arguments of a BasicGNN that follow from the dataset, or are parameters of their own."""


def of_timm(_shapes: Mapping[str, tuple[int, ...]], *, name: str, **params: Any) -> str:
    """Return why there is no such backbone in timm, or ''."""
    return _unknown("timm model", name, timm_names()) or _is_set(params["arguments"], SET_FOR_TIMM)


def of_torch_geometric(shapes: Mapping[str, tuple[int, ...]], *, name: str, **params: Any) -> str:
    """Return why there is no such BasicGNN in torch-geometric, or no edge, or ''."""
    from hepbench_models.cloud_shapes import several_points

    return (
        _unknown("BasicGNN of torch-geometric", name, gnn_names())
        or _is_set(params["arguments"], SET_FOR_GNN)
        or several_points(shapes)
    )


@cache
def timm_names() -> frozenset[str]:
    """Return the names of timm's models: its functions behind ``@register_model``."""
    pattern = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
    files = (_folder("timm") / "models").glob("*.py")
    return frozenset(name for file in files for name in pattern.findall(file.read_text("utf-8")))


@cache
def gnn_names() -> frozenset[str]:
    """Return the names of torch-geometric's BasicGNNs."""
    file = _folder("torch_geometric") / "nn" / "models" / "basic_gnn.py"
    return frozenset(re.findall(r"^class (\w+)\(BasicGNN\)", file.read_text("utf-8"), re.MULTILINE))


def _folder(package: str) -> Path:
    """Return the folder of an installed package.

    Raises:
        ImportError: it is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        msg = f"{package} is not installed"
        raise ImportError(msg)
    return Path(spec.submodule_search_locations[0])


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return that a name is unknown, with near ones, or ''."""
    if name in known:
        return ""
    spelt = {each.lower(): each for each in known}
    # a tag such as .a1_in1k names weights, which are not used
    near = get_close_matches(name.lower().partition(".")[0], sorted(spelt), n=NEAR)
    hint = f"; near: {', '.join(spelt[each] for each in near)}" if near else ""
    return f"there is no {kind} named '{name}'{hint}"


def _is_set(arguments: Mapping[str, Any], reserved: Iterable[str]) -> str:
    """Return that an argument is not one to choose, or ''."""
    for name in reserved:
        if name in arguments:
            return f"argument '{name}' cannot be chosen: the dataset decides, and weights are drawn"
    return ""
