"""Draw test inputs and their reconstructions; decoded walks and samples in latent space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import labels, selection, style, trained_networks
from hepbench.plots.results import latents
from hepbench.plots.sheets import Sheet
from hepbench.specs.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

    from hepbench.plots.request import Request
    from hepbench.plots.selection import Panel
    from hepbench.plots.trained_networks import TrainedNetwork
    from hepbench.specs.types import Array
    from hepbench.storage.records import Record
    from hepbench.tables.rows import Row


SHOWN = 6
"""Number of examples that are drawn, also of steps of a walk and of samples."""


DRAWABLE = ("image", "table", "scalars")


@dataclass(frozen=True)
class Pairs:
    """Test inputs after preprocessing, and their reconstructions.

    Attributes:
        input: name of the input that is drawn.
        originals, made: (n, ...), inputs and reconstructions of SHOWN examples.
        labels, ids: (n,) labels and ids of these examples.
        error: mean squared error over all values of ``count`` examples.
        step: the chain up to the step that trained the network.
        visible: (n, ...), the values that the encoder sees, 0 elsewhere; None if it sees all.
        walk, samples: (steps, ...), decoded latents; None if the encoder cannot decode latents.
    """

    input: str
    originals: Array
    made: Array
    labels: Array
    ids: Array
    error: float
    count: int
    step: str
    visible: Array | None = None
    walk: Array | None = None
    samples: Array | None = None


def picked(labels: Array, n: int = SHOWN) -> Array:
    """Choose n examples to draw, equally many of each class; return their indices."""
    turn = np.empty(len(labels), int)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        turn[mine] = np.arange(len(mine))
    chosen = np.lexsort((labels, turn))[:n]
    return chosen[np.lexsort((chosen, labels[chosen]))]


def between(start: Array, end: Array, steps: int = SHOWN) -> Array:
    """Return latents (steps, D) on the straight line from ``start`` to ``end``."""
    fraction = np.linspace(0, 1, steps)[:, None]
    return (1 - fraction) * start + fraction * end


def sampled(values: Array, *, variational: bool, n: int = SHOWN) -> Array:
    """Return n random latents (n, D).

    For a variational encoder from N(0, 1), else from a Gaussian with the mean and covariance of the
    latents (N, D).
    """
    rng = np.random.default_rng(0)
    if variational:
        return rng.normal(size=(n, values.shape[1]))
    values = values.astype(float)
    centred = values - values.mean(axis=0)
    _, sizes, right = np.linalg.svd(centred, full_matrices=False)
    noise = rng.normal(size=(n, len(sizes))) * sizes / np.sqrt(max(len(values) - 1, 1))
    return values.mean(axis=0) + noise @ right


def pairs(trained: TrainedNetwork) -> Pairs:
    """Return test inputs with their reconstructions by a network.

    Raises:
        ResultsError: it reconstructs none of the inputs that can be drawn.
    """
    name, shown = _reconstructed(trained), picked(trained.labels)
    originals, made, error = compared(trained, name, shown)
    walk, samples = _walk_and_samples(trained, name, shown)
    return Pairs(
        input=name,
        originals=originals,
        made=made,
        labels=trained.labels[shown],
        ids=np.asarray(trained.test.ids)[trained.rows[shown]],
        error=error,
        count=len(trained.rows),
        step=trained.step,
        visible=_visible(trained, name, originals),
        walk=walk,
        samples=samples,
    )


def _visible(trained: TrainedNetwork, name: str, originals: Array) -> Array | None:
    import torch

    visible = getattr(trained.network.encoder, "visible", None)
    if visible is None:
        return None
    with torch.no_grad():
        found: Array = visible({name: torch.as_tensor(originals)})[name].cpu().numpy()
    return found


def _walk_and_samples(
    trained: TrainedNetwork, name: str, shown: Array
) -> tuple[Array | None, Array | None]:
    """Decode latents between two examples (a walk) and random latents (samples)."""
    if not hasattr(trained.network.encoder, "decode"):
        return None, None
    found = latents.encode(trained)
    first, last = found.values[shown[[0, -1]]].astype(float)
    chosen = sampled(found.values, variational=found.log_variances is not None)
    return _decoded(trained, name, between(first, last)), _decoded(trained, name, chosen)


def compared(trained: TrainedNetwork, name: str, shown: Array) -> tuple[Array, Array, float]:
    """Return inputs and reconstructions of some examples, and the error over all examples.

    Only one batch is held in memory: all examples may be gigabytes.

    Args:
        trained: network and test examples.
        name: name of the input.
        shown: (n,) indices of the examples that are returned.
    """
    encoder = trained.network.encoder
    kept: dict[int, tuple[Array, Array]] = {}
    first, squares, values = 0, 0.0, 0
    for before, after in trained_networks.batched(
        trained, lambda inputs: (inputs[name], encoder.reconstruct(inputs)[name])
    ):
        here = [i for i in shown if first <= i < first + len(before)]
        # copied, because a view would keep the whole batch in memory
        kept |= {i: (before[i - first].copy(), after[i - first].copy()) for i in here}
        squares += float(np.square(np.subtract(after, before, dtype=float)).sum())
        first, values = first + len(before), values + before.size
    originals, made = zip(*(kept[i] for i in shown), strict=True)
    return np.stack(originals), np.stack(made), squares / values


def _reconstructed(trained: TrainedNetwork) -> str:
    """Return the name of an input that a network reconstructs and that can be drawn."""
    import torch

    inputs = trained.network.example_inputs()
    with torch.no_grad():
        made = set(trained.network.encoder.reconstruct(inputs))
    for name in DRAWABLE:
        if name in made and name in inputs:
            return name
    msg = f"{trained.network.recipe.model} reconstructs {', '.join(sorted(made))}; "
    raise ResultsError(msg + f"only {', '.join(DRAWABLE)} can be drawn")


def _decoded(trained: TrainedNetwork, name: str, values: Array) -> Array:
    import torch

    network = trained.network
    with torch.no_grad():
        made = network.encoder.decode(torch.as_tensor(values, dtype=torch.float32))
    found: Array = (made[name] if isinstance(made, dict) else made).cpu().numpy()
    return found


def draw(request: Request) -> list[Sheet]:
    """Draw the reconstructions of each network in a figure of its own, smallest error first."""
    panels = selection.panels(request, "auc", why_not=_why_not)
    found = []
    for panel in panels:
        blocks = [_block(request, panel, i) for i in range(len(panel.rows))]
        blocks.sort(key=lambda block: block.pairs.error)
        found += [_sheet(request, panel, block) for block in blocks]
    return found


def _sheet(request: Request, panel: Panel, block: Block) -> Sheet:
    size, pairs = request.sized("full"), block.pairs
    # a narrow figure shows the first and the last ones
    n = len(pairs.originals)
    places = list(range(n)) if size.width > 5 else sorted({0, 1, n - 2, n - 1} & {*range(n)})
    figure = style.blank(size, _height(pairs, block.lines, size.width, len(places)))
    classes = _classes(block.row, pairs)
    if pairs.input == "image":
        _draw_images(figure, pairs, block.lines, classes, places)
    else:
        _draw_profiles(figure, pairs, block.row)
    about = f"{block.name}; mean squared error {pairs.error:.3g}; {panel.header}"
    style.heading(figure, panel.title, about)
    title = f"Test inputs and their reconstructions, {panel.title}"
    name = f"{panel.title}-{block.name}"
    return Sheet(figure, title, name, [panel.caption, _note(block), *panel.notes])


@dataclass(frozen=True)
class Block:
    """One network's part of a figure of reconstructions."""

    name: str
    row: Row
    pairs: Pairs
    lines: list[Line]


def _block(request: Request, panel: Panel, i: int) -> Block:
    row = panel.rows[i]
    found = pairs(_load(request, row.ok[0]))
    lines = list(_lines(found, _features(found, row), channels=request.channels))
    return Block(panel.names[i], row, found, lines)


def _note(block: Block) -> str:
    found = block.pairs
    return (
        f"{block.name}, seed {block.row.ok[0].seed}, network after {found.step}: mean squared error "
        f"{found.error:.3g} over {found.count:,} test examples and all values, after preprocessing"
    )


def _load(request: Request, record: Record) -> TrainedNetwork:
    return trained_networks.load(request.results, record, most=latents.EXAMPLES, decoding=True)


def _why_not(row: Row) -> str:
    return trained_networks.why_not(row.ok[0], offers="reconstruct")


@dataclass(frozen=True)
class Line:
    """A line of images (n, height, width); ``signed``: differences of images."""

    name: str
    images: Array
    signed: bool = False


def _lines(found: Pairs, names: Sequence[str], *, channels: bool) -> Iterator[Line]:
    """Yield a block's lines of images, for the sum of channels or for each channel."""
    if found.input != "image":
        return
    n = found.originals.shape[1]
    views: list[Any] = [slice(i, i + 1) for i in range(n)] if channels and n > 1 else [slice(None)]
    for i, view in enumerate(views):
        behind = f"\n{names[i]}" if len(views) > 1 else ""
        first, second = (each[:, view].sum(axis=1) for each in (found.originals, found.made))
        yield Line(f"original{behind}", first)
        if found.visible is not None:
            yield Line(f"visible{behind}", found.visible[:, view].sum(axis=1))
        yield Line(f"reconstruction{behind}", second)
        yield Line(f"difference{behind}", second - first, signed=True)
    for name, images in (("walk", found.walk), ("samples", found.samples)):
        if images is not None:
            yield Line(name, images.sum(axis=1))


def _height(found: Pairs, lines: Sequence[Line], width: float, n: int) -> float:
    """Return the height in inches of a figure of so many inches in width, with n images a line."""
    if not lines:
        return 1.15 * -(-len(found.originals) // 2) + 0.9
    _, high, wide = lines[0].images.shape
    each = (width - 0.9) / n * float(high) / float(wide)
    # the name of a line is beside it
    return len(lines) * max(each, 0.72) + 0.3


def _classes(row: Row, found: Pairs) -> Sequence[str]:
    return labels.class_names(row.aspects["labels"], max(found.labels) + 1)


def _draw_images(
    part: Any,
    found: Pairs,
    lines: Sequence[Line],
    classes: Sequence[str],
    places: Sequence[int],
) -> None:
    """Draw lines of images, those at some places of each line."""
    lines = [replace(line, images=line.images[places]) for line in lines]
    axes = part.subplots(len(lines), len(places), squeeze=False)
    plain = style.pixel_colours(
        np.concatenate([x.images for x in lines if x.name.startswith("original")])
    )
    reach = max((abs(line.images).max() for line in lines if line.signed), default=1.0) or 1.0
    signed: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}
    pairs = zip(lines, axes, strict=True)
    for sign, group in groupby(pairs, key=lambda pair: pair[0].signed):
        mine = list(group)
        shown = [_draw_line(*each, signed if sign else plain) for each in mine]
        # one colour bar for each run of neighbouring lines, so that it covers no other lines
        bar = part.colorbar(shown[0], ax=[ax for _, places in mine for ax in places], pad=0.01)
        bar.set_label("difference" if sign else "value", loc="center", fontsize=style.SMALL)
        style.number_bar(bar)
    named = zip(found.labels[places], found.ids[places], strict=True)
    for ax, (label, number) in zip(axes[0], named, strict=False):
        ax.set_title(style.plain(f"{classes[label]}\nid {number}"), fontsize=style.SMALL)
    _walk_ends(axes, lines)


def _draw_line(line: Line, places: Sequence[Axes], how: dict[str, Any]) -> Any:
    """Draw a line of images; return the drawn first one."""
    for ax in places:
        ax.set(xticks=[], yticks=[])
        ax.minorticks_off()
    for ax in places[len(line.images) :]:
        ax.set_axis_off()
    places[0].set_ylabel(line.name, loc="center", fontsize=style.SMALL)
    drawn = zip(places, line.images, strict=False)
    first, *_ = (ax.imshow(image, origin="lower", **how) for ax, image in drawn)
    return first


def _walk_ends(axes: Array, lines: Sequence[Line]) -> None:
    """Write names above the first and the last image of a walk in latent space."""
    for line, places in zip(lines, axes, strict=True):
        if line.name == "walk":
            places[0].set_title("first", fontsize=style.SMALL, pad=1.5)
            places[-1].set_title("last", fontsize=style.SMALL, pad=1.5)


def _draw_profiles(part: Any, found: Pairs, row: Row) -> None:
    """Draw the features of some examples and their reconstructions, in axes for each example."""
    n = len(found.originals)
    axes = part.subplots(-(-n // 2), 2, squeeze=False, sharex=True).ravel()
    for spare in axes[n:]:
        spare.remove()
    classes = _classes(row, found)
    for i, ax in enumerate(axes[:n]):
        _draw_profile(ax, found.originals[i], found.made[i])
        title = style.plain(f"{classes[found.labels[i]]}, id {found.ids[i]}")
        ax.set_title(title, loc="left", fontsize=style.SMALL)
        ax.set_ylabel("value" if i % 2 == 0 else "", loc="center", fontsize=style.SMALL)
    places = np.arange(found.originals.shape[1])
    _name_features(axes[max(n - 2, 0) : n], places, _features(found, row))
    handles, names = axes[0].get_legend_handles_labels()
    style.key(part, handles, [f"{name}, preprocessed" for name in names])


def _draw_profile(ax: Axes, original: Array, made: Array) -> None:
    places = np.arange(len(original))
    ax.plot(places, original, "o", color="black", markersize=2.5, label="original")
    edges = np.arange(len(places) + 1) - 0.5
    ax.stairs(made, edges, color=style.COLOURS[1], baseline=None, label="reconstruction")
    ax.tick_params(axis="x", which="minor", bottom=False, top=False)


def _features(found: Pairs, row: Row) -> list[str]:
    """Return the recorded names of features or channels, or their numbers if there are none."""
    read = row.record.key_parts.get("read", {}).get("inputs", {})
    names: list[str] = list(read.get(found.input, {}).get("names", ()))
    n = found.originals.shape[1]
    # a view may change the number of features; their names are then unknown
    return names if len(names) == n else [str(i) for i in range(n)]


def _name_features(axes: Sequence[Axes], places: Array, names: Sequence[str]) -> None:
    for ax in axes:
        ax.set_xticks(places, [style.plain(name.replace("_", " ")) for name in names], rotation=90)
