"""A plugin for tests: a dataset of images, a cloud, numbers and spectators, read from an npz file.

``counted``: the file holds arrays by name; whatever is wrong with them is for ``check`` to find.
"""

from __future__ import annotations

import warnings
from zipfile import BadZipFile

import numpy as np

from hepbench import (
    DataError,
    Dataset,
    DataWarning,
    Examples,
    File,
    Input,
    Original,
    Sample,
    View,
    hookimpl,
)

STEP = 30
WIDTH = ("width", "hits")


def read(folder):
    path = folder / "counted.npz"
    try:
        with np.load(path) as file:
            arrays = dict(file)
    except (OSError, ValueError, BadZipFile, KeyError) as error:
        msg = f"counted: counted.npz: cannot be read ({error}); a whole npz file is needed"
        raise DataError(msg) from error
    if "odd" in arrays:
        warnings.warn("labels look the wrong way round", DataWarning, stacklevel=1)
    yield from chunks(arrays)


def sample():
    yield from chunks(made(0))


def made(seed, n=200):
    """Return good arrays: brighter signal, a cloud with padding, a mass."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    image = rng.exponential(size=(n, 2, 5, 4)) * (rng.random((n, 2, 5, 4)) < 0.3)
    image *= 1 + labels[:, None, None, None]
    image[:, 0, 0, 0] = 1
    particles = rng.integers(1, 7, n)
    mask = np.arange(6) < particles[:, None]
    cloud = np.where(mask[..., None], rng.normal(5, 1, (n, 6, 3)), 0)
    return {
        "image": image.astype(np.float32),
        "cloud": cloud.astype(np.float32),
        "mask": mask,
        "labels": labels,
        "m": rng.normal(100, 10, n),
    }


def chunks(arrays):
    """Yield labelled examples, 30 at a time, and the images as unlabelled ones, twice as bright."""
    n = len(arrays["labels"])
    for start in range(0, n, STEP):
        rows = slice(start, start + STEP)
        inputs = {name: arrays[name][rows] for name in ("image", "cloud", "mask")}
        yield (
            "labelled",
            Examples(
                inputs=inputs,
                ids=np.arange(n)[rows],
                labels=arrays["labels"][rows],
                spectators={"m": arrays["m"][rows]},
            ),
        )
    inputs = {"image": 2 * arrays["image"], "cloud": arrays["cloud"], "mask": arrays["mask"]}
    yield "unlabelled", Examples(inputs=inputs, ids=np.arange(n))


def summarise(inputs, **_others):
    """Return the spread of the first feature and the number of hits in the image."""
    hits = (np.asarray(inputs["image"]) != 0).sum((1, 2, 3))
    return {"table": np.stack([inputs["cloud"][..., 0].std(1), hits], 1).astype(np.float32)}


COUNTED = Dataset(
    name="counted",
    summary="images, clouds and numbers",
    classes=("qcd", "top"),
    inputs={
        "image": Input(shape=(2, 5, 4), names=("tracks", "towers"), sparse=True),
        "cloud": Input(shape=(6, 3)),
        "mask": Input(shape=(6,)),
    },
    original=Original(
        "counted:read",
        files=(
            File(
                name="counted.npz",
                url="http://127.0.0.1:9/counted.npz",
                address="https://page.example/counted",
            ),
        ),
        known={
            "fraction.top": (0.4, 0.6),
            "image.towers.mean": (0.3, 0.6),
            "image.towers.mean.top": (0.4, 0.8),
            "image.tracks.min": (0, 0),
            "cloud.0.mean": (4.5, 5.5),
            "mask.particles.max": (6, 6),
            "spectator.m.mean": (95, 105),
            "spectator.pT.mean": (0, 1),
            "table.hits.max": (1, 40),
        },
        citation="nobody",
        licence="none",
    ),
    sample=Sample("counted:sample"),
    views={"table": View("counted:summarise", params=frozenset({"size"}), names="counted:WIDTH")},
    params={"size": 4},
)


@hookimpl
def hepbench_datasets():
    return [COUNTED]
