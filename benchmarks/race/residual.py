"""ResNet-15 on images of electrons and photons: from an HDF5 file to an AUC, FLOPs and latencies."""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
import warnings
from pathlib import Path

import h5py
import numpy as np
import onnxruntime
import torch
from fvcore.nn import FlopCountAnalysis
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("file")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--threads", type=int, default=1)
options = parser.parse_args()
torch.set_num_threads(options.threads)
torch.manual_seed(options.seed)

with h5py.File(options.file) as file:
    parts = {
        part: (torch.from_numpy(file[part]["image"][:]), torch.from_numpy(file[part]["labels"][:]))
        for part in file
    }
mean = parts["train"][0].mean((0, 2, 3), keepdim=True)
std = parts["train"][0].std((0, 2, 3), keepdim=True)
loaders = {
    part: DataLoader(TensorDataset(x, y), batch_size=128, shuffle=part == "train")
    for part, (x, y) in parts.items()
}

EPOCHS, PATIENCE, WIDTH = 5, 2, 8


def convolution(n, m, kernel, stride):
    """Return a convolution with batch normalisation."""
    made = nn.Conv2d(n, m, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(made, nn.BatchNorm2d(m))


class Block(nn.Module):
    """Two convolutions that are added to their input."""

    def __init__(self, n, m, stride):
        super().__init__()
        self.first, self.second = convolution(n, m, 3, stride), convolution(m, m, 3, 1)
        changes = stride > 1 or n != m
        self.shortcut = convolution(n, m, 1, stride) if changes else nn.Identity()

    def forward(self, x):
        """Return the units of the block."""
        return (self.second(self.first(x).relu()) + self.shortcut(x)).relu()


class ResNet15(nn.Module):
    """Logits of images."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.first = convolution(mean.shape[1], WIDTH, 3, 1)
        widths = ((WIDTH, WIDTH, 1), (WIDTH, 2 * WIDTH, 2), (2 * WIDTH, 4 * WIDTH, 2))
        blocks = (block for n, m, s in widths for block in (Block(n, m, s), Block(m, m, 1)))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(4 * WIDTH, 2)

    def forward(self, x):
        """Return two logits for each image."""
        x = (x - self.mean) / self.std
        return self.head(self.blocks(self.first(x).relu()).mean((2, 3)))


network = ResNet15()


@torch.no_grad()
def evaluate(network, part):
    """Return the mean loss and the AUC on a part of the data."""
    network.eval()
    logits = torch.cat([network(x) for x, _ in loaders[part]])
    labels = torch.cat([y for _, y in loaders[part]])
    loss = nn.functional.cross_entropy(logits, labels).item()
    return loss, roc_auc_score(labels.numpy(), logits.softmax(1)[:, 1].numpy())


optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=5e-4)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
best, best_weights, best_epoch = np.inf, None, 0
for epoch in range(EPOCHS):
    network.train()
    for x, y in loaders["train"]:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    schedule.step()
    loss, auc = evaluate(network, "validation")
    if loss < best:
        best, best_weights, best_epoch = loss, copy.deepcopy(network.state_dict()), epoch
    if epoch - best_epoch >= PATIENCE:
        break
network.load_state_dict(best_weights)

found = {"auc": evaluate(network, "test")[1]}
network.eval()
one = parts["test"][0][:1]
warnings.simplefilter("ignore")
analysis = FlopCountAnalysis(network, one).unsupported_ops_warnings(enabled=False)
found["flops"] = 2 * int(analysis.total())
found["parameters"] = sum(parameter.numel() for parameter in network.parameters())


def median_ms(call, batch):
    """Return the median time of a call that scores a batch, in ms."""
    x = parts["test"][0]
    call(x[:batch])
    durations = []
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end or len(durations) < 5:
        rows = x[torch.randint(len(x), (batch,))]
        began = time.perf_counter()
        call(rows)
        durations.append(time.perf_counter() - began)
    return 1e3 * float(np.median(durations))


with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    path = Path(folder) / "network.onnx"
    torch.onnx.export(
        network,
        (one,),
        path,
        dynamo=False,
        input_names=["x"],
        output_names=["logits"],
        dynamic_axes={"x": {0: "batch"}, "logits": {0: "batch"}},
    )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    x = parts["test"][0][:7]
    difference = session.run(None, {"x": x.numpy()})[0] - network(x).numpy()
    found["export_difference"] = float(abs(difference).max())
    for batch in (1, 256):
        found[f"torch_ms_{batch}"] = median_ms(network, batch)
        found[f"onnx_ms_{batch}"] = median_ms(
            lambda rows: session.run(None, {"x": rows.numpy()}), batch
        )
print(json.dumps(found))
