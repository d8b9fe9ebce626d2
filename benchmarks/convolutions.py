"""Measure what fraction of the processor's peak each convolution of ``resnet15`` reaches, on one core.

    .venv/bin/python benchmarks/convolutions.py [--preset paper --batch 16]

Printed is a table in Markdown: the fraction of the peak forward and backward, as ``resnet15`` trains (with
channels last in memory) and with channels first, and in ONNX Runtime. The peak is that of the fastest
product of two float32 matrices, of several sizes, by torch and by numpy; direct convolutions can exceed it,
since they load fewer numbers for each operation. The bandwidth is that of a copy, bytes read and written,
of arrays as large as the layer's tensors, since small ones stay in a cache. All are measured in turn, in the
order of the network, and the fastest of the turns counts: what other processes take can only be added. torch
and numpy are timed by CPU time, ONNX Runtime by its own profile of each node.

``limit`` is the largest fraction of the peak that the bandwidth allows if each tensor is read or written
once. ``bound`` is ``bandwidth`` where the limit is below the peak, otherwise ``arithmetic``. A layer that
reaches less than half of its limit in training is bound by ``overhead``, such as other layouts of weights
and sums; the number of its channels is in brackets if they fill no vector of 16 numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hepbench_models
import numpy as np
import onnxruntime
import torch
from hepbench_models.image_layout import channels_last
from hepbench_models.resnet15 import ResNet15
from tabulate import tabulate
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from hepbench.cost import export
from hepbench.specs.parameters import defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IMAGE = (2, 32, 32)
MATRICES = (256, 384, 1024)
"""Sizes of the square matrices whose product gives the peak."""

VECTOR = 16
"""Numbers in a vector of AVX-512."""

WAYS = (
    "forward",
    "backward",
    "forward, channels first",
    "backward, channels first",
    "ONNX Runtime",
)
Seconds = dict[tuple[str, str], float]


@dataclass(frozen=True)
class Layer:
    """A convolution with an input, and a gradient of its output."""

    name: str
    module: nn.Conv2d
    x: Tensor
    gradient: Tensor

    @property
    def flops(self) -> float:
        """Operations of the forward pass."""
        return 2.0 * self.gradient.numel() * self.module.weight[0].numel()

    @property
    def backward_flops(self) -> float:
        """Operations of the gradients of the weights and of the input."""
        return self.flops * (1 if self.first else 2)

    @property
    def numbers(self) -> int:
        """Numbers in input, weights and output."""
        return self.x.numel() + self.module.weight.numel() + self.gradient.numel()

    @property
    def first(self) -> bool:
        """Whether this layer's input is the image, which needs no gradient."""
        return self.x.shape[1] == IMAGE[0]

    def forward(self) -> None:
        """Compute the output."""
        with torch.no_grad():
            self.module(self.x)

    def backward(self) -> None:
        """Compute the gradients of weights and input."""
        m = self.module
        torch.ops.aten.convolution_backward(
            self.gradient, self.x, m.weight, None, m.stride, m.padding, m.dilation, False, [0, 0], 1,
            [not self.first, True, False],
        )  # fmt: skip

    def channels_first(self) -> Layer:
        """Return the same layer with channels first in memory."""
        return replace(self, x=self.x.contiguous(), gradient=self.gradient.contiguous())


class Classifier(nn.Module):
    """``resnet15`` with a linear head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = ResNet15({"image": IMAGE}, width=width)
        self.head = nn.Linear(4 * width, 2)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return (N, 2) logits."""
        return self.head(self.encoder.encode(inputs))


def layers(network: nn.Module, image: Tensor) -> list[Layer]:
    """Return the convolutions of a network in the order in which they are computed."""
    found: list[Layer] = []

    def collect(name: str) -> Callable[..., None]:
        def hook(module: nn.Conv2d, given: tuple[Tensor], out: Tensor) -> None:
            gradient = channels_last(torch.randn_like(out))
            found.append(Layer(name, module, given[0].detach(), gradient))

        return hook

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(collect(name))
    with torch.no_grad():
        network({"image": image})
    for module in network.modules():
        module._forward_hooks.clear()
    return found


def measured(network: nn.Module, image: Tensor, several: list[Layer], turns: int) -> Seconds:
    """Return the least CPU seconds over turns, by (layer, what is measured).

    Products of matrices are there by library and size; ('', 'step') is a training step.
    """
    tasks: dict[tuple[str, str], Callable[[], Any]] = {}
    for size in MATRICES:
        a, b = torch.randn(2, size, size)
        tasks["torch", str(size)] = partial(torch.mm, a, b, out=torch.empty(size, size))
        tasks["numpy", str(size)] = partial(np.matmul, a.numpy(), b.numpy(), np.empty_like(a))
    tasks["", "step"] = lambda: network.train()({"image": image}).sum().backward()
    for layer in several:
        plain, one = layer.channels_first(), torch.randn(layer.numbers // 2)
        tasks[layer.name, "forward"] = layer.forward
        tasks[layer.name, "backward"] = layer.backward
        tasks[layer.name, "forward, channels first"] = plain.forward
        tasks[layer.name, "backward, channels first"] = plain.backward
        # half of the numbers are read, and as many written: the bytes of the layer
        tasks[layer.name, "copy"] = partial(torch.empty_like(one).copy_, one)
    found = dict.fromkeys(tasks, float("inf"))
    for _ in range(turns):
        for name, task in tasks.items():
            began = time.thread_time()
            task()
            found[name] = min(found[name], time.thread_time() - began)
    return found


# --- ONNX Runtime


def onnx_seconds(network: nn.Module, image: Tensor, turns: int) -> dict[str, float]:
    """Return the least seconds of each convolution in ONNX Runtime, by the name of its module."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export.export(network, {"image": image[:4]}, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for _ in range(turns):
            session.run(None, {"image": image.numpy()})
        events = json.loads(Path(session.end_profiling()).read_text())
    found: dict[str, float] = {}
    for name, seconds in conv_times(events):
        found[name] = min(found.get(name, float("inf")), seconds)
    return found


def conv_times(events: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    """Yield module and seconds of each convolution in a profile of ONNX Runtime."""
    for event in events:
        arguments = event.get("args", {})
        if (
            event.get("cat") == "Node"
            and "_kernel_time" in event["name"]
            and arguments.get("op_name") in {"Conv", "FusedConv"}
        ):
            yield module_of(event["name"]), event["dur"] / 1e6


def module_of(node: str) -> str:
    """Return the name of the convolution that a node computes.

    A node is named after its last operation: ``/network/blocks/blocks.0/second/second.0/Conv...``, or
    ``/network/blocks/blocks.0/Relu...``, which is joined with the first convolution of the block.
    """
    *path, operation = node.split("/")
    modules = [part for part in path if "." in part]
    return ".".join(["encoder", *modules, *([] if operation.startswith("Conv") else ["first.0"])])


# --- table


def peak_of(seconds: Seconds) -> float:
    """Return the operations per second of the fastest product of matrices."""
    return max(2.0 * n**3 / seconds[by, str(n)] for n in MATRICES for by in ("torch", "numpy"))


def rows(several: list[Layer], seconds: Seconds, in_onnx: dict[str, float]) -> list[Any]:
    """Return a row of the table for each layer, and one for all."""
    times = {**seconds, **{(name, "ONNX Runtime"): s for name, s in in_onnx.items()}}
    peak = peak_of(seconds)
    made = []
    for layer in several:
        n, m = layer.x.shape[1], layer.gradient.shape[1]
        k, sides = layer.module.kernel_size[0], " x ".join(map(str, layer.gradient.shape[2:]))
        name = layer.name.removeprefix("encoder.")
        made.append(
            [f"{name}: {n} to {m}, {k} x {k}, {sides}", layer.flops / 1e6]
            + [percent(fraction([layer], times, way) / peak) for way in WAYS]
            + bound(layer, times, peak)
        )
    total = [percent(fraction(several, times, way) / peak) for way in WAYS]
    return [*made, ["all", sum(layer.flops for layer in several) / 1e6, *total, "", ""]]


def fraction(several: list[Layer], times: Seconds, way: str) -> float:
    """Return the operations per second of layers."""
    backward = way.startswith("backward")
    flops = sum(layer.backward_flops if backward else layer.flops for layer in several)
    return flops / sum(times[layer.name, way] for layer in several)


def bound(layer: Layer, times: Seconds, peak: float) -> list[str]:
    """Return the limit that the bandwidth sets, and what bounds a layer: see the module's docstring."""
    limit = min(1.0, layer.flops / times[layer.name, "copy"] / peak)
    flops = layer.flops + layer.backward_flops
    seconds = times[layer.name, "forward"] + times[layer.name, "backward"]
    channels = min(layer.x.shape[1], layer.gradient.shape[1])
    what = "bandwidth" if limit < 1 else "arithmetic"
    if flops / seconds / peak < limit / 2:
        what = f"overhead ({channels} channels)" if channels % VECTOR else "overhead"
    return [percent(limit), what]


def percent(fraction: float) -> str:
    """Return a fraction in per cent."""
    return f"{100 * fraction:.0f} %"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="quick", choices=["quick", "paper"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--turns", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    width = defaults(hepbench_models.RESNET15.params, given.preset)["width"]
    network = Classifier(width).eval()
    image = torch.from_numpy(np.random.default_rng(0).random((given.batch, *IMAGE), np.float32))
    several = layers(network, image)
    with threadpool_limits(1):
        seconds = measured(network, image, several, given.turns)
    table = rows(several, seconds, onnx_seconds(network.eval(), image, 3 * given.turns))
    heads = ["layer: channels, kernel, output", "MFLOP", *WAYS, "limit", "bound"]
    print(tabulate(table, heads, tablefmt="pipe", floatfmt=".3g"))
    convolved = sum(seconds[x.name, way] for x in several for way in ("forward", "backward"))
    print(f"\nwidth {width}, {given.batch} images of {' x '.join(map(str, IMAGE))}; ", end="")
    print(f"peak {peak_of(seconds) / 1e9:.0f} GFLOP/s; ", end="")
    print(f"convolutions take {percent(convolved / seconds['', 'step'])} of a step; ", end="")
    print(f"load {os.getloadavg()[0]:.0f}")


if __name__ == "__main__":
    main()
