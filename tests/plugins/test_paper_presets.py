"""The preset ``paper`` of every suite runs at full size, on small files in the original formats.

Networks, images and training settings are those of the preset. What differs stands in the names of
the cells: one epoch of each method, and batches of two for the masked autoencoder, whose step takes
seconds. Cells that train the same network in the same way again, and estimators, are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import isfinite
from typing import TYPE_CHECKING

import originals
import pytest
from hepbench_datasets import hepbench_suites

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

OWN = {"smoke", "quickstart", "standard", "training-sizes"}
"""Suites that follow no write-up."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A short run of a suite under its preset ``paper``.

    Attributes:
        dataset: of the suite.
        write: writes its original files into a folder.
        settings: of ``--set``, beside one epoch of each method whose name in the cells says so.
        cells: MACs of scoring one example and parameters, in millions, by the cell's model and chain:
            published or counted by hand where docs/systems.md gives numbers or layers.
    """

    dataset: str
    write: Callable[[Path], None]
    settings: Sequence[str] = ()
    cells: Mapping[str, Sequence[float]]

    @property
    def options(self) -> list[str]:
        """Options of ``run`` that select the cells and shorten them."""
        models, chains = zip(*(cell.split("/") for cell in self.cells), strict=True)
        methods = re.findall(r"([a-z-]+)\[epochs=1", " ".join(self.cells))
        settings = [*(f"{method}.epochs=1" for method in methods), *self.settings]
        pairs = {"-d": [self.dataset], "-m": models, "-x": chains, "--set": settings}
        return [
            text
            for name, values in pairs.items()
            for v in dict.fromkeys(values)
            for text in (name, v)
        ]


boosted_jets = partial(originals.write_boosted_jets, labelled=40, unlabelled=8)
ALL_LABELS = "dataset.label_fraction=1.0"
SHORT = "[epochs=1,batch_size=16]"

RESNET15, CONV_VAE, MAE_VIT = (420.6, 2.775), [21.0], (40_300, 56.9)
# convolutions 3x3 to 64, 32, 16 and 8 pixels a side, and the means of the latents
GAUSSIAN_VAE = [
    (9 * (3 * 32 * 64**2 + 32 * 64 * 32**2 + 64 * 128 * 16**2 + 128 * 256 * 8**2) + 16384 * 128)
    / 1e6
]
# convolutions 5x5 of 125, 25 and 5 pixels a side; images padded to 128 would need 76.4
MULTI_INPUT_CNN = [(3 * 32 * 125**2 + 32 * 64 * 25**2 + 64 * 128 * 5**2) * 25 / 1e6]
# per token and layer: attention, and a perceptron of 2048 units; 21 tokens of 21 to 64 latents
TRANSFORMER = [(3 * 21 * (4 * 21**2 + 2 * 21 * 2048 + 2 * 21**2) + 21 * 21 * 64) / 1e6]
MLP = [(21 * 300 + 4 * 300**2 + 300 * 2) / 1e6]

TRIALS = {
    # every network (cnn also of one channel); half precision, as resnet15 is trained, is slow on a CPU
    "electron-photon": Trial(
        dataset="electron-photon",
        write=originals.write_electron_photon,
        settings=["dataset.n_train=8"],
        cells={
            "resnet15/scratch[epochs=1]": RESNET15,
            "cnn/scratch[epochs=1]": [],
            "dual-cnn/scratch[epochs=1]": [],
            "vit/scratch[epochs=1]": [],
        },
    ),
    # three ways to train the encoder, and the network of image and scalars
    "quark-gluon-vae": Trial(
        dataset="quark-gluon",
        write=partial(originals.write_quark_gluon, jets=40),
        cells={
            "gaussian-vae/pretrain[epochs=1]+finetune[epochs=1]": GAUSSIAN_VAE,
            "gaussian-vae/joint[epochs=1]": GAUSSIAN_VAE,
            "gaussian-vae/pretrain-background[epochs=1]+linear-probe": GAUSSIAN_VAE,
            "gaussian-vae/scratch[epochs=1]": GAUSSIAN_VAE,
            "multi-input-cnn/scratch[epochs=1]": MULTI_INPUT_CNN,
        },
    ),
    # every network, and one with half of its channels removed; the preset takes 10,000 jets
    "quark-gluon-gnn": Trial(
        dataset="quark-gluon",
        write=partial(originals.write_quark_gluon, jets=40),
        settings=[
            *("dataset.n_train=none", "dataset.n_validation=none", "dataset.n_test=none"),
            ALL_LABELS,
        ],
        cells={
            "gcn/scratch[epochs=1]": [],
            "gat/scratch[epochs=1]": [],
            "gin/scratch[epochs=1]": [],
            "graphsage/scratch[epochs=1]": [],
            "graphsage/scratch[epochs=1]+prune-structured[epochs=1]": [],
        },
    ),
    # a step takes one to two seconds an example, so two labelled jets and two others; the 13.1 million
    # parameters of the decoder have no part in the scores
    "jet-mae": Trial(
        dataset="boosted-jets",
        write=partial(originals.write_boosted_jets, labelled=10, unlabelled=2),
        settings=[
            *("pretrain.batch_size=2", "finetune.batch_size=2"),
            *("dataset.n_train=2", ALL_LABELS),
        ],
        cells={
            "mae-vit/pretrain[epochs=1,batch_size=2]+finetune[epochs=1,batch_size=2]": MAE_VIT,
        },
    ),
    # MACs by hand from those of benchmarks/README.md for 17 features and 10 classes; trees have none
    "top-tagging": Trial(
        dataset="top-tagging",
        write=partial(originals.write_top_tagging, jets=60),
        settings=["scratch.batch_size=16"],
        cells={
            "deepsets/scratch[epochs=1,batch_size=16]": [],
            "particlenet/scratch[epochs=1,batch_size=16]": [371.434, 0.366160],
            "particle-transformer/scratch[epochs=1,batch_size=16]": [334.595, 2.141134],
        },
    ),
    # both pretrainings of clouds, each with another rung
    "ladder": Trial(
        dataset="top-tagging",
        write=partial(originals.write_top_tagging, jets=60),
        settings=[
            *(f"{name}.batch_size=16" for name in ("masked", "simclr", "finetune", "mlp-probe")),
            ALL_LABELS,
        ],
        cells={
            f"deepsets/masked{SHORT}+finetune{SHORT}": [],
            f"deepsets/simclr{SHORT}+mlp-probe{SHORT}": [],
        },
    ),
    # the published chains; prunings and sparse autoencoders are in suites of their own
    "jet-vae": Trial(
        dataset="boosted-jets",
        write=boosted_jets,
        settings=[ALL_LABELS],
        cells={
            "conv-vae/pretrain[epochs=1]+svm": CONV_VAE,
            "conv-vae/pretrain[epochs=1]+finetune[epochs=1]": CONV_VAE,
            "conv-vae/joint[epochs=1]": CONV_VAE,
            "conv-vae/pretrain-background[epochs=1]+linear-probe": CONV_VAE,
        },
    ),
    # each pruning once
    "pruning": Trial(
        dataset="boosted-jets",
        write=boosted_jets,
        cells={
            f"conv-vae/pretrain[epochs=1]+finetune[epochs=1]+{pruning}": known
            for pruning, known in {
                "prune-unstructured[ratio=0.8]": CONV_VAE,
                "prune-iterative[epochs=1,ratio=0.8]": CONV_VAE,
                "prune-structured[epochs=1,ratio=0.8]": [],
                "prune-structured[epochs=1,ratio=0.8,after=reinitialise]": [],
            }.items()
        },
    ),
    # the network is the same for every lambda
    "sparse-ae": Trial(
        dataset="boosted-jets",
        write=boosted_jets,
        cells={"sparse-ae[sparsity_weight=0.1]/pretrain[epochs=1]+linear-probe": CONV_VAE},
    ),
    # the write-up's training, masked pretraining and the deep network of Baldi et al.
    "higgs-transformer": Trial(
        dataset="higgs",
        write=partial(originals.write_higgs, rows=300),
        settings=["dataset.split=write-up", ALL_LABELS],
        cells={
            "transformer-ae/joint[epochs=1]": TRANSFORMER,
            "transformer-ae[masked_fraction=0.3]/pretrain[epochs=1]+finetune[epochs=1]": TRANSFORMER,
            "mlp/scratch[epochs=1]": MLP,
            "transformer-ae/scratch[epochs=1]": TRANSFORMER,
            "transformer-ae[masked_fraction=0.3]/scratch[epochs=1]": TRANSFORMER,
        },
    ),
}


def test_every_suite_of_a_write_up_is_tried():
    """A new suite needs a trial here, or its name among those without a write-up."""
    assert {suite.name for suite in hepbench_suites()} == TRIALS.keys() | OWN


@pytest.mark.slow
@pytest.mark.parametrize("suite", TRIALS)
def test_a_paper_preset_trains_at_full_size(bench, suite):
    """Each network learns from an original file; its MACs are the published ones, by both counters."""
    trial = TRIALS[suite]
    folder = bench.folder / "data" / trial.dataset
    folder.mkdir(parents=True)
    trial.write(folder)
    given = ("--preset", "paper", "--seeds", "1", "--data", folder.parent, "--source", "file")
    done = bench("run", suite, *given, *trial.options, "--quiet", timeout=1200)
    assert done.code == 0, done.err
    records = bench.records()
    assert {f"{r.model}/{r.chain}" for r in records.values()} == trial.cells.keys()
    for cell, record in records.items():
        assert record.data.source == "file", cell
        assert all(isfinite(value) for row in record.history for value in row.values()), cell
        trained = {int(row["step"]) for row in record.history}
        chained = record.chain.split("+")
        assert trained == {i for i, step in enumerate(chained) if "epochs=1" in step}, cell
        # one line says if an operator is not counted, and if the two counters disagree
        doubts = [line for line in chain(record.warnings, record.cost.gaps) if "macs:" in line]
        assert doubts == [], cell
        known = trial.cells[f"{record.model}/{record.chain}"]
        found = (record.cost.macs, record.cost.parameters)
        for number, millions in zip(found, known, strict=False):
            assert number == pytest.approx(1e6 * millions, rel=2e-3), cell
