"""Draw latents of test examples: classes, used dimensions, comparison with N(0, 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import labels, selection, style, trained_networks
from hepbench.plots.sheets import Sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from hepbench.plots.request import Request
    from hepbench.plots.selection import Panel
    from hepbench.specs.types import Array
    from hepbench.tables.rows import Row


EXAMPLES = 5000
"""Largest number of test examples that are encoded."""


EMBEDDED = 1500
"""Largest number of examples for t-SNE, whose time grows with the number squared."""


IN_USE = 0.01
"""A latent dimension is in use if its mean KL divergence exceeds this number of nats."""


@dataclass(frozen=True)
class Latents:
    """The latents that a network computes for test examples.

    Attributes:
        values: (N, D); for a variational encoder the means.
        log_variances: (N, D) for a variational encoder, else None.
        labels: (N,).
        step: the chain up to the step that trained the network.
    """

    values: Array
    log_variances: Array | None
    labels: Array
    step: str


def encode(trained: trained_networks.TrainedNetwork) -> Latents:
    """Compute the latents of test examples with a trained network."""
    encoder = trained.network.encoder
    if hasattr(encoder, "posterior"):
        values, log_variances = trained_networks.outputs(trained, encoder.posterior)
        return Latents(values, log_variances, trained.labels, trained.step)
    (values,) = trained_networks.outputs(trained, encoder.encode)
    return Latents(values, None, trained.labels, trained.step)


def principal(values: Array) -> tuple[Array, Array]:
    """Return the first two principal components of latents, and the variance of each component.

    Args:
        values: (N, D) latents.

    Returns:
        (N, 2) components, and (D,) fractions of the variance that each explains, largest first.
    """
    centred = values.astype(float) - values.mean(axis=0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    # the sign of a component is arbitrary: its largest entry is made positive
    signs = np.sign(right[np.arange(len(right)), abs(right).argmax(axis=1)])
    shown = (left * sizes * signs)[:, :2]
    if shown.shape[1] < 2:
        shown = np.column_stack([shown, np.zeros(len(shown))])
    total = float((sizes**2).sum())
    return shown, sizes**2 / total if total else sizes


def divergence(means: Array, log_variances: Array) -> Array:
    """Return the mean KL divergence of each latent dimension from N(0, 1), in nats."""
    means, logs = means.astype(float), log_variances.astype(float)
    found: Array = ((means**2 + np.exp(logs) - 1 - logs) / 2).mean(axis=0)
    return found


def effective(fractions: Array) -> float:
    """Return the participation ratio of principal components, an effective number of dimensions.

    That many equal components have the same sum of squared fractions of the variance.
    """
    squares = float((fractions**2).sum())
    return 1 / squares if squares else 0.0


def normalised(found: Latents) -> Array:
    """Return sampled or standardised latents (N, D) to compare with N(0, 1).

    For a variational encoder they are sampled as in training, for others standardised.
    """
    values = found.values.astype(float)
    if found.log_variances is None:
        spread = values.std(axis=0)
        return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    noise = np.random.default_rng(0).normal(size=values.shape)
    return values + noise * np.exp(found.log_variances.astype(float) / 2)


def embedded(values: Array) -> Array:
    """Return the t-SNE (n, 2) of the first EMBEDDED latents.

    Source: van der Maaten and Hinton, JMLR 9 (2008) 2579; computed by scikit-learn.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    some = values[:EMBEDDED].astype(float)
    perplexity = min(30.0, (len(some) - 1) / 3)
    init = "pca" if some.shape[1] > 1 else "random"
    # with several threads sums differ in their last digits, and t-SNE amplifies that
    with threadpool_limits(1):
        found: Array = TSNE(perplexity=perplexity, init=init, random_state=0).fit_transform(some)
    return found


def draw(request: Request) -> list[Sheet]:
    """Draw the latents of each network in four panels."""
    size = request.sized("full")
    across = 4 if size.width > 5 else 2
    most = max(1, int((size.height - 0.4) / (_HEIGHT * 4 / across + 0.3)))
    return [
        _sheet(request, panel, rows, across)
        for panel in selection.panels(request, "auc", why_not=_why_not)
        for rows in style.chunks(len(panel.rows), most)
    ]


_HEIGHT = 1.55


def _sheet(request: Request, panel: Panel, rows: Sequence[int], across: int) -> Sheet:
    size = request.sized("full")
    down = 4 // across
    axes = style.grid(size, 4 * len(rows), across=across, heights=(_HEIGHT,))
    notes = [panel.caption]
    for place, i in enumerate(rows):
        record = panel.rows[i].ok[0]
        found = encode(trained_networks.load(request.results, record, most=EXAMPLES))
        mine = [each[0] for each in axes[4 * place : 4 * (place + 1)]]
        style.panel_title(mine[0], panel.names[i], size.width - 0.5, fontweight="bold")
        notes.append(_draw_row(mine, panel, i, found, record.seed))
    figure: Any = axes[0][0].figure
    style.add_height(figure, 0.1 * down * len(rows))
    style.heading(figure, panel.title, panel.header)
    notes.append(f"t-SNE of at most {EMBEDDED:,} examples; its distances have no unit")
    title = f"Latents of test examples, {panel.title}"
    return Sheet(figure, title, panel.title, [*notes, *panel.notes])


def _why_not(row: Row) -> str:
    return trained_networks.why_not(row.ok[0])


def _draw_row(axes: Sequence[Axes], panel: Panel, i: int, found: Latents, seed: int) -> str:
    """Draw the latents of one network in four panels; return a note about it."""
    classes = labels.class_names(panel.rows[i].aspects["labels"], int(found.labels.max()) + 1)
    shown, fractions = principal(found.values)
    _scatter(axes[0], shown, found.labels, classes)
    axes[0].set_xlabel(f"PC 1 ({fractions[0]:.0%})")
    axes[0].set_ylabel(f"PC 2 ({fractions[1] if len(fractions) > 1 else 0:.0%})")
    _scatter(axes[1], embedded(found.values), found.labels[:EMBEDDED], classes)
    axes[1].set(xlabel="t-SNE 1", ylabel="t-SNE 2")
    axes[0].legend(loc="upper right", markerscale=2, handletextpad=0.1, borderaxespad=0.1)
    note = _draw_dimensions(axes[2], found, fractions)
    _draw_normal(axes[3], normalised(found), sampled=found.log_variances is not None)
    where = f"{panel.names[i]}, seed {seed}, network after {found.step}"
    return f"{where}: {len(found.values):,} test examples, {note}"


def _scatter(axes: Axes, points: Array, labels: Array, classes: Sequence[str]) -> None:
    colours = np.array([style.colour(i) for i in range(len(classes))])[labels]
    dots: dict[str, Any] = {"s": 2.5, "linewidths": 0}
    # drawn in the order of ids, not of classes, so that no class hides another
    axes.scatter(points[:, 0], points[:, 1], c=colours, alpha=0.5, rasterized=True, **dots)
    for label, name in enumerate(classes):
        colour = style.colour(label)
        axes.scatter([], [], color=colour, label=style.plain(name), **dots)
    # leave room for the legend
    low, high = points[:, 1].min(), points[:, 1].max()
    axes.set_ylim(top=high + 0.14 * (len(classes) + 0.5) * (high - low or 1.0))


def _draw_dimensions(axes: Axes, found: Latents, fractions: Array) -> str:
    """Draw KL divergence or variance of each latent dimension; return a summary in words."""
    d = found.values.shape[1]
    places = np.arange(1, d + 1)
    if found.log_variances is not None:
        values = np.sort(divergence(found.values, found.log_variances))[::-1]
        used = int((values > IN_USE).sum())
        axes.axhline(IN_USE, color=style.GREY, linewidth=0.8, linestyle=":")
        axes.set_ylabel("KL divergence (nat)")
        note = f"{used} of {d} dimensions in use (KL > {IN_USE} nat), {values.sum():.3g} nat in all"
    else:
        values = np.sort(found.values.astype(float).var(axis=0))[::-1]
        axes.set_ylabel("variance")
        note = f"participation ratio {effective(fractions):.1f} of {d} components"
    axes.bar(places, values, color=style.COLOURS[0], width=0.9 if d < 65 else 1.0)
    if values[-1] > 0 and values[0] > 50 * values[-1]:
        axes.set_yscale("log")
    axes.set(xlabel="dimension, by rank", xlim=(0.4, d + 0.6))
    style.whole_ticks(axes)
    return note


def _draw_normal(axes: Axes, values: Array, *, sampled: bool) -> None:
    """Draw the range of the distributions of all latent dimensions, with N(0, 1)."""
    edges = np.linspace(-4, 4, 41)
    centres = (edges[1:] + edges[:-1]) / 2
    bins = np.stack([np.histogram(v, edges)[0] for v in values.T]) / (len(values) * 0.2)
    how: dict[str, Any] = {"color": style.COLOURS[0], "linewidth": 0}
    low, high = bins.min(axis=0), bins.max(axis=0)
    axes.fill_between(centres, low, high, alpha=0.2, label="all dimensions", **how)
    low, high = np.quantile(bins, [0.16, 0.84], axis=0)
    axes.fill_between(centres, low, high, alpha=0.45, label="68 % of dimensions", **how)
    normal = np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi)
    axes.plot(centres, normal, color=style.COLOURS[1], linestyle=(0, (5, 1.5)), label="N(0, 1)")
    axes.set_ylim(0, 1.7 * max(float(bins.max()), 0.4))
    axes.set(xlim=(-4, 4), ylabel="density")
    axes.set_xlabel("sampled latent" if sampled else "standardised latent")
    axes.legend(loc="upper left", borderaxespad=0.2)
