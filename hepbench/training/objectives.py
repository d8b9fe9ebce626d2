"""Training objectives: classification and pretraining losses, and which parameters they train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.nn import functional

from hepbench.specs.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor, nn

    from hepbench.specs.method import Network, Objective
    from hepbench.specs.training_data import Examples

    Terms = Callable[[Any, Any], Mapping[str, Tensor]]


def classification(network: Network, batch: Examples) -> dict[str, Tensor]:
    """Return the cross-entropy loss of each example, in nats.

    Raises:
        PluginError: the network has no head, or the examples no labels.
    """
    return _classification(network, batch, "none")


def _mean_classification(network: Network, batch: Examples) -> dict[str, Tensor]:
    return _classification(network, batch, "mean")


def _classification(network: Network, batch: Examples, reduction: str) -> dict[str, Tensor]:
    if network.head is None or batch.labels is None:
        what = "a head: see context.with_head" if network.head is None else "labels"
        msg = f"classification needs {what}"
        raise PluginError(msg)
    logits = network(batch.inputs)
    return {"cross_entropy": functional.cross_entropy(logits, batch.labels, reduction=reduction)}


def pretraining(network: Network, batch: Examples) -> Mapping[str, Tensor]:
    """Return the terms of the encoder's own loss (pretraining) for each example."""
    terms: Mapping[str, Tensor] = network.encoder.pretraining_terms(batch.inputs)
    return terms


def encoder_term_weights(network: Any, progress: float) -> Mapping[str, float]:
    """Return the weights of the encoder's loss terms; ``progress`` is 1 at the end of training."""
    term_weights = getattr(network.encoder, "term_weights", None)
    found: Mapping[str, float] = term_weights(progress) if term_weights else {}
    return found


MEANS: Mapping[Terms, Terms] = {classification: _mean_classification}
"""Function of loss terms per example -> faster function that returns their means over a batch."""


def steps(objective: Objective, *, weighted: bool) -> Terms:
    """Return the function that computes an objective's loss terms in training steps."""
    return objective.terms if weighted else MEANS.get(objective.terms, objective.terms)


def total(
    terms: Mapping[str, Tensor], term_weights: Mapping[str, float], weights: Tensor | None
) -> Tensor:
    """Return the total loss of a batch: the mean over examples of the weighted sum of terms.

    Args:
        terms: (N,) each, or means already if there are no ``weights``.
        term_weights: by term; 1 for terms that are not named.
        weights: (N,) of the examples, with mean 1 over the training part.
    """
    found: Tensor | None = None
    for name, term in terms.items():
        weight = term_weights.get(name, 1.0)
        # a term at weight 0 still passes NaN on, which must be seen
        part = term if weight == 1.0 else term * weight
        found = part if found is None else found + part
    assert found is not None
    if weights is not None:
        return (found * weights).mean()
    return found.mean() if found.ndim else found


def check(terms: Mapping[str, Tensor], n: int) -> None:
    """Raise PluginError unless each loss term has one value for each of n examples."""
    for name, term in terms.items():
        if tuple(term.shape) != (n,):
            shape = tuple(term.shape)
            msg = f"loss term {name!r} has shape {shape} for {n} examples; ({n},) is expected"
            raise PluginError(msg)
    if not terms:
        msg = "an objective returned no loss term"
        raise PluginError(msg)


def prefix_of(name: str, prefixes: Iterable[str]) -> str | None:
    """Return the longest of the prefixes that match the dotted name of a network's parameter."""
    fits = [p for p in prefixes if not p or name == p or name.startswith(f"{p}.")]
    return max(fits, key=len, default=None)


def groups(network: nn.Module, objective: Objective) -> list[dict[str, Any]]:
    """Return an optimiser's parameter groups, ``[{"params", "lr", "parts"}]``, by learning rate.

    Parts with equal rates share a group, which saves a kernel per step. Preprocessing is never
    trained.

    Raises:
        PluginError: a part has no parameter.
    """
    names = {n: p for n, p in network.named_parameters() if not n.startswith("preprocess.")}
    found: dict[str, list[nn.Parameter]] = {part: [] for part in objective.learning_rates}
    for part in found:
        if not any(prefix_of(name, [part]) is not None for name in names):
            parts = ", ".join(
                n for n, m in network.named_children() if any(True for _ in m.parameters())
            )
            msg = f"the network has no parameters in {part!r}; allowed parts: {parts or 'none'}"
            raise PluginError(msg)
    for name, parameter in names.items():
        part_of = prefix_of(name, found)
        if part_of is not None:
            found[part_of].append(parameter)
    made: dict[float, dict[str, Any]] = {}
    for part, parameters in found.items():
        rate = objective.learning_rates[part]
        group = made.setdefault(rate, {"params": [], "lr": rate, "parts": []})
        group["params"] += parameters
        group["parts"] += [part] if parameters else []
    return [group for group in made.values() if group["params"]]


def set_modes(network: nn.Module, objectives: Iterable[Objective]) -> None:
    """Set the trained parts of a network to training mode and all others to eval mode.

    In training mode batch norm would change the statistics of a frozen part.
    """
    parts = [part for objective in objectives for part in objective.learning_rates]
    for path, module in network.named_modules():
        fixed = path == "preprocess" or path.startswith("preprocess.")
        module.training = not fixed and prefix_of(path, parts) is not None
