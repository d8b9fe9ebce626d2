"""Reconstructions: test inputs beside what a network makes of them, and decoded walks and samples."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import networks, selection, style
from hepbench.plots.results import latents
from hepbench.specs.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.drawing import Request
    from hepbench.plots.networks import Trained
    from hepbench.specs.types import Array
    from hepbench.storage.records import Record
    from hepbench.tables.rows import Row


SHOWN = 6
"""Examples, as many of each class as fit; steps of a walk; samples."""


DRAWABLE = ("image", "table", "scalars")


MOST = 2


@dataclass(frozen=True)
class Pairs:
    """Test inputs and their reconstructions, as the network sees them: after preprocessing.

    Attributes:
        input: its name.
        originals, made: (n, ...) of SHOWN examples.
        labels, ids: (n,) theirs.
        error: mean squared error over all examples and values; ``count`` examples.
        walk, samples: (steps, ...) decoded, where the encoder decodes.
    """

    input: str
    originals: Array
    made: Array
    labels: Array
    ids: Array
    error: float
    count: int
    step: str
    walk: Array | None = None
    samples: Array | None = None


def picked(labels: Array, n: int = SHOWN) -> Array:
    """Return the places of n examples, the classes taking turns, each in its order."""
    turn = np.empty(len(labels), int)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        turn[mine] = np.arange(len(mine))
    chosen = np.lexsort((labels, turn))[:n]
    return chosen[np.lexsort((chosen, labels[chosen]))]


def between(start: Array, end: Array, steps: int = SHOWN) -> Array:
    """Return (steps, D) codes on the straight line from one to another."""
    share = np.linspace(0, 1, steps)[:, None]
    return (1 - share) * start + share * end


def sampled(values: Array, *, variational: bool, n: int = SHOWN) -> Array:
    """Return (n, D) codes: from N(0, 1) of a variational encoder, else from a Gaussian of the mean
    and covariance of codes (N, D).
    """
    rng = np.random.default_rng(0)
    if variational:
        return rng.normal(size=(n, values.shape[1]))
    values = values.astype(float)
    centred = values - values.mean(axis=0)
    _, sizes, right = np.linalg.svd(centred, full_matrices=False)
    noise = rng.normal(size=(n, len(sizes))) * sizes / np.sqrt(max(len(values) - 1, 1))
    return values.mean(axis=0) + noise @ right


def pairs(trained: Trained) -> Pairs:
    """Return what is drawn of a network.

    Raises:
        ResultsError: it reconstructs nothing that can be drawn.
    """
    name, shown = _reconstructed(trained), picked(trained.labels)
    originals, made, error = compared(trained, name, shown)
    walk = samples = None
    if hasattr(trained.network.encoder, "decode"):
        found = latents.codes(trained)
        ends = found.values[shown[[0, -1]]].astype(float)
        walk = _decoded(trained, name, between(*ends))
        variational = found.log_variances is not None
        samples = _decoded(trained, name, sampled(found.values, variational=variational))
    return Pairs(
        input=name,
        originals=originals,
        made=made,
        labels=trained.labels[shown],
        ids=np.asarray(trained.test.ids)[trained.rows[shown]],
        error=error,
        count=len(trained.rows),
        step=trained.step,
        walk=walk,
        samples=samples,
    )


def compared(trained: Trained, name: str, shown: Array) -> tuple[Array, Array, float]:
    """Return an input of the examples at some places (n,), what is made of it, and the mean squared
    error over all examples. Of these, which dense may be gigabytes, no more than a batch is held.
    """
    encoder = trained.network.encoder
    kept: dict[int, tuple[Array, Array]] = {}
    first, squares, values = 0, 0.0, 0
    for before, after in networks.batched(
        trained, lambda inputs: (inputs[name], encoder.reconstruct(inputs)[name])
    ):
        here = [i for i in shown if first <= i < first + len(before)]
        # copied: a view would hold its batch
        kept |= {i: (before[i - first].copy(), after[i - first].copy()) for i in here}
        squares += float(np.square(np.subtract(after, before, dtype=float)).sum())
        first, values = first + len(before), values + before.size
    originals, made = zip(*(kept[i] for i in shown), strict=True)
    return np.stack(originals), np.stack(made), squares / values


def _reconstructed(trained: Trained) -> str:
    """Return the name of what is reconstructed and can be drawn."""
    import torch

    inputs = trained.network.example_inputs()
    with torch.no_grad():
        made = set(trained.network.encoder.reconstruct(inputs))
    for name in DRAWABLE:
        if name in made and name in inputs:
            return name
    msg = f"{trained.network.recipe.model} reconstructs {', '.join(sorted(made))}; "
    raise ResultsError(msg + f"what can be drawn is {', '.join(DRAWABLE)}")


def _decoded(trained: Trained, name: str, values: Array) -> Array:
    import torch

    network = trained.network
    with torch.no_grad():
        made = network.encoder.decode(torch.as_tensor(values, dtype=torch.float32))
    found: Array = (made[name] if isinstance(made, dict) else made).cpu().numpy()
    return found


def draw(request: Request) -> Figure:
    """Draw each network in a block of its own."""
    from matplotlib.figure import Figure

    panels = selection.panels(request, "auc", needs=_needs, most=MOST)
    rows = [(panel, i) for panel in panels for i in range(len(panel.rows))]
    found = [pairs(_load(request, panel.rows[i].ok[0])) for panel, i in rows]
    names = [_features(each, panel.rows[i]) for each, (panel, i) in zip(found, rows, strict=True)]
    blocks = [
        list(_lines(each, mine, channels=request.channels))
        for each, mine in zip(found, names, strict=True)
    ]
    heights = [_height(each, block) for each, block in zip(found, blocks, strict=True)]
    figure = Figure(figsize=(9.0, sum(heights)), layout="constrained")
    lines: Any = figure.subfigures(len(rows), 1, height_ratios=heights)
    parts = np.atleast_1d(lines)
    notes = [panel.caption for panel in panels]
    for part, (panel, i), each, block in zip(parts, rows, found, blocks, strict=True):
        row = panel.rows[i]
        style.title(part, f"{panel.title}: {panel.names[i]}")
        if each.input == "image":
            _draw_images(part, each, block, row.aspects["labels"])
        else:
            _draw_profiles(part, each, row)
        notes.append(
            f"{panel.names[i]}, seed {row.ok[0].seed}, network after {each.step}: mean squared error "
            f"{each.error:.3g} over {each.count:,} test examples and all values, after preprocessing"
        )
    style.footer(figure, notes + [note for panel in panels for note in panel.notes])
    return figure


def _load(request: Request, record: Record) -> Trained:
    return networks.load(request.results, record, most=latents.EXAMPLES, decoding=True)


def _needs(row: Row) -> str:
    return networks.why_not(row.ok[0], offers="reconstruct")


@dataclass(frozen=True)
class Line:
    """A line of images: (n, height, width); ``signed`` ones are differences."""

    name: str
    images: Array
    signed: bool = False


def _lines(found: Pairs, names: Sequence[str], *, channels: bool) -> Iterator[Line]:
    """Yield the lines of images of a block: summed over channels, or for each of their names."""
    if found.input != "image":
        return
    n = found.originals.shape[1]
    views: list[Any] = [slice(i, i + 1) for i in range(n)] if channels and n > 1 else [slice(None)]
    for i, view in enumerate(views):
        behind = f"\n{names[i]}" if len(views) > 1 else ""
        first, second = (each[:, view].sum(axis=1) for each in (found.originals, found.made))
        yield Line(f"original{behind}", first)
        yield Line(f"reconstruction{behind}", second)
        yield Line(f"difference{behind}", second - first, signed=True)
    for name, images in (("walk", found.walk), ("samples", found.samples)):
        if images is not None:
            yield Line(name, images.sum(axis=1))


def _height(found: Pairs, lines: Sequence[Line]) -> float:
    """Return the inches of a block."""
    if not lines:
        return 2.4 * -(-len(found.originals) // 2) + 0.5
    _, height, width = lines[0].images.shape
    return len(lines) * max(1.25 * float(height) / float(width), 0.5) + 0.6


def _draw_images(part: Any, found: Pairs, lines: Sequence[Line], classes: Sequence[str]) -> None:
    axes = part.subplots(len(lines), SHOWN, squeeze=False)
    plain = style.pixels(np.concatenate([x.images for x in lines if x.name.startswith("original")]))
    reach = max((abs(line.images).max() for line in lines if line.signed), default=1.0) or 1.0
    signed: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}
    pairs = zip(lines, axes, strict=True)
    for sign, group in groupby(pairs, key=lambda pair: pair[0].signed):
        mine = list(group)
        shown = [_draw_line(*each, signed if sign else plain) for each in mine]
        # one for each run of lines: a bar beside lines that are apart would cover others
        bar = part.colorbar(shown[0], ax=[ax for _, places in mine for ax in places], pad=0.01)
        bar.set_label("difference" if sign else "value", loc="center", fontsize="small")
        bar.ax.tick_params(labelsize="x-small", which="both", length=2)
    for ax, label, number in zip(axes[0], found.labels, found.ids, strict=False):
        name = classes[label] if classes else f"class {label}"
        ax.set_title(style.plain(f"{name}, id {number}"), fontsize="x-small")
    _walk_ends(axes, lines)


def _draw_line(line: Line, places: Sequence[Axes], how: dict[str, Any]) -> Any:
    """Draw a line of images; return the first of them."""
    for ax in places:
        ax.set(xticks=[], yticks=[])
        ax.minorticks_off()
    for ax in places[len(line.images) :]:
        ax.set_axis_off()
    places[0].set_ylabel(line.name, loc="center", fontsize="small")
    drawn = zip(places, line.images, strict=False)
    first, *_ = (ax.imshow(image, origin="lower", **how) for ax, image in drawn)
    return first


def _walk_ends(axes: Array, lines: Sequence[Line]) -> None:
    """Say where a walk goes."""
    for line, places in zip(lines, axes, strict=True):
        if line.name == "walk":
            places[0].set_title("from the first", fontsize="x-small")
            places[-1].set_title("to the last", fontsize="x-small")


def _draw_profiles(part: Any, found: Pairs, row: Row) -> None:
    """Draw numbers of examples: each feature's value and its reconstruction."""
    n = len(found.originals)
    axes = part.subplots(-(-n // 2), 2, squeeze=False, sharex=True).ravel()
    for spare in axes[n:]:
        spare.set_axis_off()
    places = np.arange(found.originals.shape[1])
    classes = row.aspects["labels"]
    for i, ax in enumerate(axes[:n]):
        ax.plot(places, found.originals[i], "o", color="black", markersize=4, label="original")
        edges = np.arange(len(places) + 1) - 0.5
        ax.stairs(
            found.made[i], edges, color=style.COLOURS[1], baseline=None, label="reconstruction"
        )
        name = classes[found.labels[i]] if classes else f"class {found.labels[i]}"
        ax.set_title(style.plain(f"{name}, id {found.ids[i]}"), loc="left", fontsize="small")
        ax.set_ylabel("preprocessed value" if i % 2 == 0 else "", loc="center", fontsize="small")
        ax.tick_params(axis="x", which="minor", bottom=False, top=False)
    _name_features(axes[max(n - 2, 0) : n], places, _features(found, row))
    style.legend(axes[0], loc="upper right", ncols=2)
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high + 0.3 * (high - low))


def _features(found: Pairs, row: Row) -> list[str]:
    """Return the names of features or channels where the record knows them."""
    read = row.record.key_parts.get("read", {}).get("inputs", {})
    names: list[str] = list(read.get(found.input, {}).get("names", ()))
    n = found.originals.shape[1]
    # of what a view makes of them, nobody knows the names
    return names if len(names) == n else [str(i) for i in range(n)]


def _name_features(axes: Sequence[Axes], places: Array, names: Sequence[str]) -> None:
    for ax in axes:
        ax.set_xticks(
            places, [style.plain(name) for name in names], rotation=90, fontsize="x-small"
        )
