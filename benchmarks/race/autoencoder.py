"""A sparse autoencoder of jet images, pretrained and fine-tuned: from an HDF5 file to an AUC, FLOPs and latencies."""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
import warnings
from itertools import pairwise
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


def median_of_hits(image):
    """Return the median absolute value of the pixels that are not zero, by channel."""
    return torch.stack([c[c != 0].abs().median() for c in image.movedim(1, 0)])


medians = median_of_hits(parts["train"][0])[None, :, None, None]
loaders = {
    part: DataLoader(TensorDataset(x, y), batch_size=128, shuffle=part == "train")
    for part, (x, y) in parts.items()
}

PRETRAINING_EPOCHS, EPOCHS, PATIENCE = 4, 5, 2
WIDTHS, HIDDEN, LATENTS, SLOPE = (16, 32, 64, 128), 256, 128, 0.01


def halve(n, m):
    """Return a convolution that halves an image."""
    made = nn.Conv2d(n, m, 3, stride=2, padding=1)
    return nn.Sequential(made, nn.BatchNorm2d(m), nn.LeakyReLU(SLOPE))


def double(n, m):
    """Return a transposed convolution that doubles an image."""
    return nn.ConvTranspose2d(n, m, 3, stride=2, padding=1, output_padding=1)


def draw(module):
    """Draw the weights."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
        else:
            continue
        nn.init.zeros_(layer.bias)


class Encoder(nn.Module):
    """Latents of images."""

    def __init__(self):
        super().__init__()
        self.register_buffer("medians", medians)
        sizes = (medians.shape[1], *WIDTHS)
        self.layers = nn.Sequential(*(halve(n, m) for n, m in pairwise(sizes)))
        self.hidden = nn.Sequential(nn.Linear(WIDTHS[-1] * 16, HIDDEN), nn.Dropout(0.3))
        self.latents = nn.Linear(HIDDEN, LATENTS)
        draw(self)

    def scaled(self, x):
        """Return logarithms of the pixels."""
        return x.sign() * (x / self.medians).abs().log1p()

    def forward(self, x):
        """Return the latents of scaled images."""
        return self.latents(self.hidden(self.layers(x).flatten(1)))


class Decoder(nn.Module):
    """Images of latents."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Sequential(nn.Linear(LATENTS, HIDDEN), nn.Linear(HIDDEN, WIDTHS[-1] * 16))
        sizes = WIDTHS[::-1]
        layers = []
        for n, m in pairwise(sizes):
            layers += [double(n, m), nn.BatchNorm2d(m), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, double(WIDTHS[0], medians.shape[1]))
        draw(self)

    def forward(self, latents):
        """Return images."""
        return self.layers(self.linear(latents).unflatten(1, (-1, 4, 4)))


class Classifier(nn.Module):
    """Logits of images."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Linear(LATENTS, LATENTS), nn.ReLU(), nn.Dropout(0.5), nn.Linear(LATENTS, 2)
        )

    def forward(self, x):
        """Return two logits for each image."""
        return self.head(self.encoder(self.encoder.scaled(x)))


def reconstruction_loss(encoder, decoder, x):
    """Return the squared error, summed over the image, and the L1 norm of the latents."""
    image = encoder.scaled(x)
    latents = encoder(image)
    error = (decoder(latents) - image).square().flatten(1).sum(1)
    return (error + 0.001 * latents.abs().sum(1)).mean()


encoder, decoder = Encoder(), Decoder()
both = nn.ModuleList([encoder, decoder])
optimizer = torch.optim.AdamW(both.parameters(), lr=3e-3, weight_decay=5e-4)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=PRETRAINING_EPOCHS)
best, best_weights = np.inf, None
for _ in range(PRETRAINING_EPOCHS):
    both.train()
    for x, _ in loaders["train"]:
        optimizer.zero_grad()
        reconstruction_loss(encoder, decoder, x).backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
    schedule.step()
    both.eval()
    with torch.no_grad():
        losses = [reconstruction_loss(encoder, decoder, x) for x, _ in loaders["validation"]]
    loss = torch.stack(losses).mean().item()
    if loss < best:
        best, best_weights = loss, copy.deepcopy(both.state_dict())
both.load_state_dict(best_weights)
network = Classifier(encoder)


@torch.no_grad()
def evaluate(network, part):
    """Return the mean loss and the AUC on a part of the data."""
    network.eval()
    logits = torch.cat([network(x) for x, _ in loaders[part]])
    labels = torch.cat([y for _, y in loaders[part]])
    loss = nn.functional.cross_entropy(logits, labels).item()
    return loss, roc_auc_score(labels.numpy(), logits.softmax(1)[:, 1].numpy())


optimizer = torch.optim.AdamW(
    [
        {"params": encoder.parameters(), "lr": 1e-3},
        {"params": network.head.parameters(), "lr": 3e-3},
    ],
    weight_decay=5e-4,
)
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
