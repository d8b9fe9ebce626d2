"""Small sparse images for tests, an official test file's and unlabelled ones among them; a network.

``form`` says how ``sample`` yields the images, ``does`` what is wrong with them.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from hepbench import Examples, SparseImages

SHAPE = (2, 9, 7)


def images(n, rng, labels):
    """Return n images with about 8 % hits, of signal brighter; the second of 300 has none."""
    bright = 1 + 0.5 * np.maximum(labels, 0)[:, None, None, None]
    values = rng.exponential(size=(n, *SHAPE)) * bright
    few = rng.random((n, *SHAPE)) < 0.16 * rng.random((n, 1, 1, 1))
    few[:, 0, 0, 0] = True
    few[1:2] &= n != 300
    return np.where(few, values, 0).astype(np.float32)


def sample(form, does):
    rng = np.random.default_rng(0)
    first = 0
    for role, n in (("labelled", 300), ("labelled", 1), ("labelled", 99), ("test", 150),
                    ("unlabelled", 80)):  # fmt: skip
        labels = np.arange(n) % 2 if n > 1 else np.zeros(n, np.int64)
        dense = images(n, rng, labels)
        if does == "copies" and role == "test":
            dense[:3] = images(300, np.random.default_rng(0), np.arange(300) % 2)[:3]
        yield (
            role,
            Examples(
                inputs={"image": FORMS[form](broken(dense, does))},
                ids=np.arange(first, first + n),
                labels=None if role == "unlabelled" else labels,
            ),
        )
        first += n


def broken(dense, does):
    if does == "nan":
        dense[-1, 0, 0, 3] = np.nan
    if does == "narrow":
        return dense[:, :, :, 1:]
    return dense


def channels_last(dense):
    """Return the same images as a view of what files hold."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(dense, 1, -1)), -1, 1)


def zeros(dense):
    """Return sparse images with hits of zero, in an order and with gaps that files have."""
    n, size = len(dense), dense[0].size
    starts = np.arange(n)[::-1] * size
    positions = np.tile(np.arange(size), n)
    values = dense[::-1].reshape(-1)
    return SparseImages(starts, starts + size, positions, values, image=dense.shape[1:])


FORMS = {
    "dense": lambda dense: dense,
    "double": lambda dense: dense.astype(np.float64),
    "last": channels_last,
    "sparse": SparseImages.from_dense,
    "zeros": zeros,
}


def summarise(inputs):
    """Return the number of hits and their sum, of either form."""
    image = inputs["image"]
    if isinstance(image, SparseImages):
        rows, _, values = image.hits()
        counts = np.bincount(rows, minlength=len(image))
        sums = np.bincount(rows, values, minlength=len(image))
        return {"table": np.stack([counts, sums], 1).astype(np.float32)}
    flat = image.reshape(len(image), -1).astype(np.float64)
    return {"table": np.stack([(flat != 0).sum(1), flat.sum(1)], 1).astype(np.float32)}


def brighter(inputs):
    """Return images twice as bright: sparse where they are, dense where they are not."""
    image = inputs["image"]
    if not isinstance(image, SparseImages):
        return {"brighter": 2 * image}
    rows, positions, values = image.hits()
    made = SparseImages.from_hits(rows, positions, 2 * values, n=len(image), image=image.image)
    return {"brighter": made}


def centred(inputs):
    """Return images of which the mean hit of all is taken away: what a view may not do."""
    image = inputs["image"]
    rows, positions, values = image.hits()
    values = values - values.mean()
    made = SparseImages.from_hits(rows, positions, values, n=len(image), image=image.image)
    return {"brighter": made}


def flipped(inputs):
    """Return a batch turned over, for training."""
    return {"image": inputs["image"].flip(2)}


def darker(inputs):
    """Return dense images in the place of those that were read."""
    return {"image": np.asarray(inputs["image"]) / 2}


class Convolution(nn.Module):
    """One convolution, and the mean over pixels."""

    def __init__(self, shapes):
        super().__init__()
        (self.name,) = shapes
        self.convolution = nn.Conv2d(shapes[self.name][0], 6, 3)

    def encode(self, inputs):
        return self.convolution(inputs[self.name]).relu().mean((2, 3))


class Doubled(nn.Module):
    """A step that writes into what it is given."""

    def __init__(self, shapes):
        super().__init__()

    def fit(self, batches):
        for _ in batches:
            pass

    def forward(self, inputs):
        for image in inputs.values():
            image.add_(1).mul_(2)
        return inputs


def told(inputs, **params):
    """Return what a view was handed: its params' values, for every image."""
    values = np.array([float(params[name]) for name in sorted(params)], np.float32)
    return {"told": np.tile(values, (len(inputs["image"]), 1))}


def asked(inputs, **params):
    """Return the same under another name."""
    return {"asked": told(inputs, **params)["told"]}
