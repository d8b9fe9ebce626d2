"""A plugin for tests: a dataset with every kind of input, weights, spectators and a test file.

``dense`` says whether images are read dense. Test examples have values that no other has.
"""

from __future__ import annotations

import numpy as np

from hepbench import Dataset, Examples, Input, Sample, SparseImages, View, hookimpl

SHAPE = (2, 6, 5)
PLACES = 4
TEST = 1e6
NAMES = ("brightness", "hits")


def examples(n, first, *, test=False):
    """Return n examples: images with hits of both signs in the second channel, tables, clouds."""
    rng = np.random.default_rng(first)
    labels = np.arange(n) % 2
    image = rng.exponential(10 ** rng.uniform(-2, 2, (n, *SHAPE)))
    image[:, 1] *= rng.choice([-1, 1], image[:, 1].shape)
    image *= rng.random(image.shape) < 0.1 + 0.2 * labels[:, None, None, None]
    table = np.stack([rng.normal(labels), rng.integers(0, 3, n) * 1.5, np.full(n, 2.0)], 1)
    mask = np.arange(PLACES) < rng.integers(1, PLACES + 1, n)[:, None]
    momenta = rng.normal(size=(n, PLACES, 3)) * 20
    energy = np.sqrt((momenta**2).sum(-1, keepdims=True) + 1)
    cloud = np.concatenate([momenta, energy], -1) * mask[..., None]
    inputs = {"image": image, "table": table, "cloud": cloud}
    found = {name: (array + TEST * test).astype(np.float32) for name, array in inputs.items()}
    return Examples(
        inputs={**found, "mask": mask},
        ids=np.arange(first, first + n),
        labels=labels,
        weights=rng.uniform(0.5, 2, n),
        spectators={"m": rng.exponential(80, n) + TEST * test},
    )


def sample(n, dense):
    chunks = (("labelled", n), ("labelled", n // 2), ("test", n // 3))
    for i, (role, size) in enumerate(chunks):
        made = examples(size, 10_000 * i, test=role == "test")
        if not dense:
            image = SparseImages.from_dense(made.inputs["image"])
            made = Examples(
                inputs={**made.inputs, "image": image},
                ids=made.ids,
                labels=made.labels,
                weights=made.weights,
                spectators=made.spectators,
            )
        yield role, made


def summarise(inputs, **_params):
    image = np.asarray(inputs["image"])
    sums = image.sum((1, 2, 3)), (image != 0).sum((1, 2, 3))
    return {"scalars": np.stack(sums, 1).astype(np.float32)}


def zoo(*, sparse=True):
    return Dataset(
        name="zoo",
        summary="one of each",
        classes=("cat", "dog"),
        inputs={
            "image": Input(shape=SHAPE, names=("ecal", "d0"), units=("GeV", ""), sparse=sparse),
            "table": Input(shape=(3,), names=("x", "steps", "constant")),
            "cloud": Input(
                shape=(PLACES, 4),
                names=("part_px", "part_py", "part_pz", "part_energy"),
                units=("GeV",) * 4,
            ),
            "mask": Input(shape=(PLACES,)),
        },
        sample=Sample("zoo:sample"),
        read_params=frozenset({"n", "dense"}),
        params={"n": 200, "dense": not sparse},
        views={"scalars": View("zoo:summarise", names="zoo:NAMES")},
    )


@hookimpl
def hepbench_datasets():
    return [zoo()]
