"""Fourteen small networks of kinds that other people write, with their MACs counted by hand.

Each takes ``image`` (2, 16, 16), or ``cloud`` (12, 4), ``mask`` and ``neighbours`` (12, 4).
"""

from __future__ import annotations

import warnings

import torch
from torch import nn


class Residual(nn.Module):
    """Residual block with a depthwise and a grouped convolution, and a strided skip connection."""

    def __init__(self, shapes, *, width=8):
        super().__init__()
        self.stem = nn.Conv2d(shapes["image"][0], width, 3, padding=1)
        self.depthwise = nn.Conv2d(width, width, 3, 2, 1, groups=width)
        self.pointwise, self.norm = nn.Conv2d(width, 2 * width, 1), nn.BatchNorm2d(2 * width)
        self.grouped = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=4)
        self.skip = nn.Conv2d(width, 2 * width, 1, 2)
        self.last = nn.Conv2d(2 * width, 2 * width, 3, 2, 1)

    def encode(self, inputs):
        x = self.stem(inputs["image"]).relu()
        y = self.grouped(self.norm(self.pointwise(self.depthwise(x))).relu())
        return self.last((y + self.skip(x)).relu()).mean((2, 3))


class SqueezeExcite(nn.Module):
    """Squeeze and excitation: channels are scaled by numbers that are computed of their means."""

    def __init__(self, shapes, *, width=16):
        super().__init__()
        self.stem = nn.Conv2d(shapes["image"][0], width, 3, padding=1)
        self.squeeze, self.excite = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)
        self.last = nn.Conv2d(width, width, 3, 2, 1)

    def encode(self, inputs):
        x = self.stem(inputs["image"]).relu()
        scale = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.last(x * scale).relu().mean((2, 3))


class Dense(nn.Module):
    """Dense concatenation: each layer reads all layers before it."""

    def __init__(self, shapes, *, width=8):
        super().__init__()
        first = shapes["image"][0]
        self.layers = nn.ModuleList(
            nn.Conv2d(first + i * width, width, 3, padding=1) for i in range(3)
        )
        self.last = nn.Conv2d(first + 3 * width, 16, 1)

    def encode(self, inputs):
        x = inputs["image"]
        for layer in self.layers:
            x = torch.cat([x, layer(x).relu()], 1)
        return self.last(x).relu().mean((2, 3))


class Transposed(nn.Module):
    """Down, and up again by a transposed convolution."""

    def __init__(self, shapes, *, width=8):
        super().__init__()
        self.down = nn.Conv2d(shapes["image"][0], width, 3, 2, 1)
        self.up = nn.ConvTranspose2d(width, 2 * width, 2, 2)
        self.last = nn.Conv2d(2 * width, width, 3, padding=1)

    def encode(self, inputs):
        return self.last(self.up(self.down(inputs["image"]).relu()).relu()).mean((2, 3))


class Shared(nn.Module):
    """One layer that is used twice."""

    def __init__(self, shapes, *, width=16):
        super().__init__()
        self.first, self.twice = nn.Linear(shapes["cloud"][1], width), nn.Linear(width, width)
        self.last = nn.Linear(width, width)

    def encode(self, inputs):
        x = self.first(inputs["cloud"]).relu()
        x = self.twice(self.twice(x).relu()).relu()
        return self.last(x * inputs["mask"][:, :, None]).mean(1)


class GroupNorm(nn.Module):
    """Convolutions with group normalisation."""

    def __init__(self, shapes, *, width=16):
        super().__init__()
        self.one, self.norm = (
            nn.Conv2d(shapes["image"][0], width, 3, padding=1),
            nn.GroupNorm(4, width),
        )
        self.two, self.last = nn.Conv2d(width, width, 3, 2, 1), nn.Linear(width, width)

    def encode(self, inputs):
        return self.last(self.two(self.norm(self.one(inputs["image"])).relu()).relu().mean((2, 3)))


class Gru(nn.Module):
    """A recurrent layer in both directions, between linear layers."""

    def __init__(self, shapes, *, width=8):
        super().__init__()
        self.first, self.last = nn.Linear(shapes["cloud"][1], width), nn.Linear(2 * width, width)
        self.recurrent = nn.GRU(width, width, batch_first=True, bidirectional=True)

    def encode(self, inputs):
        x = self.first(inputs["cloud"]).relu() * inputs["mask"][:, :, None]
        return self.last(self.recurrent(x)[0].mean(1).relu())


class Lstm(nn.Module):
    """A recurrent layer with a projection."""

    def __init__(self, shapes, *, width=8):
        super().__init__()
        self.first, self.last = nn.Linear(shapes["cloud"][1], width), nn.Linear(4, width)
        self.recurrent = nn.LSTM(width, width, batch_first=True, proj_size=4)

    def encode(self, inputs):
        return self.last(self.recurrent(self.first(inputs["cloud"]).relu())[0][:, -1])


class Attention(nn.Module):
    """torch's attention over particles."""

    def __init__(self, shapes, *, width=8):
        super().__init__()
        self.first, self.last = nn.Linear(shapes["cloud"][1], width), nn.Linear(width, width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)

    def encode(self, inputs):
        x = self.first(inputs["cloud"])
        mixed, _ = self.attention(x, x, x, key_padding_mask=~inputs["mask"], need_weights=False)
        return self.last((x + mixed).mean(1))


class EncoderLayer(nn.Module):
    """torch's layer of a transformer."""

    def __init__(self, shapes, *, width=8):
        super().__init__()
        self.first, self.last = nn.Linear(shapes["cloud"][1], width), nn.Linear(width, width)
        self.layer = nn.TransformerEncoderLayer(width, 2, 16, batch_first=True)

    def encode(self, inputs):
        return self.last(self.layer(self.first(inputs["cloud"])).mean(1))


class EdgeConv(nn.Module):
    """An edge convolution by gather: its input ``neighbours`` holds places."""

    def __init__(self, shapes, *, width=8):
        super().__init__()
        self.first, self.last = nn.Linear(2 * shapes["cloud"][1], width), nn.Linear(width, width)

    def encode(self, inputs):
        x, near = inputs["cloud"], inputs["neighbours"].long()
        k = near.shape[2]
        places = near.flatten(1)[:, :, None].expand(-1, -1, x.shape[2])
        there = x.gather(1, places).unflatten(1, (-1, k))
        here = x[:, :, None].expand(-1, -1, k, -1)
        edges = self.last(self.first(torch.cat([here, there - here], 3)).relu()).amax(2)
        return (edges * inputs["mask"][:, :, None]).sum(1)


def _graph(inputs):
    near, mask = inputs["neighbours"].long(), inputs["mask"]
    n, points = mask.shape
    return torch.zeros((n, points, points)).scatter(2, near, 1.0)


class Sage(nn.Module):
    """GraphSAGE by torch-geometric."""

    def __init__(self, shapes, *, width=8):
        super().__init__()
        geometric = _geometric()
        self.one = geometric.DenseSAGEConv(shapes["cloud"][1], width)
        self.two, self.last = geometric.DenseSAGEConv(width, width), nn.Linear(width, width)

    def encode(self, inputs):
        graph = _graph(inputs)
        x = self.one(inputs["cloud"], graph, inputs["mask"]).relu()
        return self.last(self.two(x, graph, inputs["mask"]).relu().mean(1))


class Gat(nn.Module):
    """Graph attention by torch-geometric, whose linear layers are no nn.Linear."""

    def __init__(self, shapes, *, width=8):
        super().__init__()
        geometric = _geometric()
        self.one = geometric.DenseGATConv(shapes["cloud"][1], width // 2, heads=2)
        self.two, self.last = nn.Linear(width, width), nn.Linear(width, width)

    def encode(self, inputs):
        x = self.one(inputs["cloud"], _graph(inputs), inputs["mask"]).relu()
        return self.last(self.two(x).relu().mean(1))


def _geometric():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch_geometric import nn as geometric
    return geometric


class Vit(nn.Module):
    """A vision transformer by timm."""

    def __init__(self, shapes, *, width=12):
        super().__init__()
        from hepbench_models.timm_import import import_timm

        channels, side, _ = shapes["image"]
        vision = import_timm("timm.models.vision_transformer")
        self.vit = vision.VisionTransformer(
            img_size=side, patch_size=4, in_chans=channels, num_classes=0, embed_dim=width,
            depth=2, num_heads=2, mlp_ratio=2,
        )  # fmt: skip

    def encode(self, inputs):
        return self.vit(inputs["image"])


PIXELS, PARTICLES, NEAR = 16 * 16, 12, 4

NETWORKS = {
    "residual": (
        Residual,
        9 * 2 * 8 * PIXELS + (9 * 8 + 8 * 16 + 9 * 16 * 4 + 8 * 16) * PIXELS // 4
        + 9 * 16 * 16 * PIXELS // 16 + 16 * 2,
    ),
    "squeeze-excite": (
        SqueezeExcite,
        9 * 2 * 16 * PIXELS + 2 * 16 * 4 + 9 * 16 * 16 * PIXELS // 4 + 16 * 2,
    ),
    "dense": (Dense, (9 * 8 * (2 + 10 + 18) + 26 * 16) * PIXELS + 16 * 2),
    "transposed": (
        Transposed,
        9 * 2 * 8 * PIXELS // 4 + 4 * 8 * 16 * PIXELS // 4 + 9 * 16 * 8 * PIXELS + 8 * 2,
    ),
    "shared": (Shared, (4 * 16 + 3 * 16 * 16) * PARTICLES + 16 * 2),
    "group-norm": (GroupNorm, 9 * 2 * 16 * PIXELS + 9 * 16 * 16 * PIXELS // 4 + 16 * 16 + 16 * 2),
    "gru": (Gru, (4 * 8 + 2 * 3 * (8 * 8 + 8 * 8)) * PARTICLES + 16 * 8 + 8 * 2),
    "lstm": (Lstm, (4 * 8 + 4 * 8 * (8 + 4) + 8 * 4) * PARTICLES + 4 * 8 + 8 * 2),
    "attention": (
        Attention,
        (4 * 8 + 4 * 8 * 8) * PARTICLES + 2 * 8 * PARTICLES**2 + 8 * 8 + 8 * 2,
    ),
    "encoder-layer": (
        EncoderLayer,
        (4 * 8 + 4 * 8 * 8 + 2 * 8 * 16) * PARTICLES + 2 * 8 * PARTICLES**2 + 8 * 8 + 8 * 2,
    ),
    "edge-conv": (EdgeConv, 2 * 8 * 8 * PARTICLES * NEAR + 8 * 2),
    "sage": (
        Sage,
        2 * (4 * 8 + 8 * 8) * PARTICLES + (4 + 8) * PARTICLES**2 + 8 * 8 + 8 * 2,
    ),
    "gat": (Gat, (4 * 8 + 8 * 8) * PARTICLES + 8 * PARTICLES**2 + 8 * 8 + 8 * 2),
    # sixteen patches and the class token
    "vit": (
        Vit,
        16 * 2 * 16 * 12 + 2 * (17 * 12 * (36 + 12 + 24 + 24) + 2 * 12 * 17**2) + 12 * 2,
    ),
}  # fmt: skip
"""Name -> class, and multiply-accumulates by hand: layer by layer, products that are summed."""
