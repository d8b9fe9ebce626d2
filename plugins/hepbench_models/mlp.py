"""Multilayer perceptron on a table of features, with residual blocks.

Baldi, Sadowski and Whiteson, Nature Communications 5, 4308 (2014), arXiv:1402.4735; residual blocks
as in He et al. (2016), with the normalisation first (Xiong et al., 2020). The code is our own. The
preset ``paper`` is the deep net of Baldi et al.: five layers of 300 tanh units without residuals,
normalisation or dropout, weights drawn with their standard deviations.

Departures of ``paper``: all features are standardised, on the training examples (theirs: on training
and test examples, and positive features only divided by their mean); two softmax logits drawn as
torch does, not one sigmoid unit with standard deviation .001; the method decides how it is trained
(theirs: SGD, batch 100, learning rate .05 falling by 2e-7 a step, momentum .9 growing to .99, weight decay 1e-5,
200 to 1000 epochs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}


class MLP(nn.Module):
    """An encoder of ``table``: (N, features) to (N, width).

    Args:
        shapes: of one example; ``table`` is (features,).
        width: units of each layer.
        layers: hidden layers, the first from the features.
        activation: tanh, relu or gelu.
        residual: whether each further layer normalises its input and adds its output to it.
        dropout: fraction of the units, after each layer.
        init_std: standard deviations of the initial weights of the first and of the further layers;
            biases are then 0. Empty: torch's own initialisation.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        width: int,
        layers: int,
        activation: str,
        residual: bool,
        dropout: float,
        init_std: Sequence[float],
    ) -> None:
        super().__init__()
        (features,) = shapes["table"]
        self.residual = residual
        self.first = _layer(features, width, activation, dropout)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width) if residual else nn.Identity(),
                _layer(width, width, activation, dropout),
            )
            for _ in range(layers - 1)
        )
        self.norm = nn.LayerNorm(width) if residual else nn.Identity()
        if init_std:
            first, further = init_std
            _draw(self.first, first)
            _draw(self.blocks, further)

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the units of the last layer, normalised if blocks are residual."""
        x: Tensor = self.first(inputs["table"])
        for block in self.blocks:
            x = x + block(x) if self.residual else block(x)
        return self.norm(x)


def _layer(n: int, width: int, activation: str, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n, width), ACTIVATIONS[activation](), nn.Dropout(dropout))


def _draw(module: nn.Module, std: float) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
