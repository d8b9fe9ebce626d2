"""Small files in the original formats, at the original shapes, for tests.

Their examples are those of the bundled samples, without the mark of simulated files.
"""

from __future__ import annotations

import numpy as np
import test_boosted_jets
import test_electron_photon
import test_higgs
import test_quark_gluon
from damage import REMOVED
from hepbench_datasets import BOOSTED_JETS, boosted_jets, higgs, quark_gluon, top_tagging


def write_boosted_jets(folder, *, labelled, unlabelled):
    """Write both files of boosted jets: 125 x 125 pixels of 8 channels."""
    order = BOOSTED_JETS.params["order"].default
    (_, jets), *_ = boosted_jets.sample(order=order)
    dense = channels_last(jets.inputs["image"][: labelled + unlabelled])
    absent = dict.fromkeys(("m", "pT"), REMOVED)
    label = jets.labels[:labelled, None].astype(np.float32)
    test_boosted_jets.written(folder, jet=dense[:labelled], Y=label, **absent)
    name = test_boosted_jets.UNLABELLED
    test_boosted_jets.written(folder, name, jet=dense[labelled:], Y=REMOVED, **absent)


def write_electron_photon(folder):
    """Write 23 electrons and 18 photons: 32 x 32 pixels of 2 channels, LZF in chunks."""
    test_electron_photon.written(folder)


def write_quark_gluon(folder, *, jets):
    """Write the HDF5 file of quark and gluon jets: 125 x 125 pixels of 3 channels, m0 and pt."""
    ((_, found),) = quark_gluon.sample()
    columns = {name: values[:jets] for name, values in found.spectators.items()}
    columns["y"] = found.labels[:jets].astype(np.float32)
    dense = channels_last(found.inputs["image"][:jets])
    test_quark_gluon.hdf5_file(folder, X_jets=dense, **columns)


def write_higgs(folder, *, rows):
    """Write the compressed CSV file: a label and 28 features a line."""
    ((_, events),) = higgs.sample()
    table = np.column_stack([events.labels, events.inputs["table"]])[:rows]
    lines = [test_higgs.row(*(f"{value:.18e}" for value in row)) for row in table]
    test_higgs.written(folder, lines, name="HIGGS.csv.gz")


def write_top_tagging(folder, *, jets):
    """Write the three arrays of top-tagging jets: momenta and mask of 128 particles, labels."""
    ((_, found),) = top_tagging.sample()
    momenta, mask = (found.inputs[name][:jets, :128] for name in ("cloud", "mask"))
    np.save(folder / top_tagging.VECTORS, momenta.transpose(0, 2, 1))
    np.save(folder / top_tagging.MASK, mask[:, None].astype(np.float32))
    np.save(folder / top_tagging.LABELS, found.labels[:jets])


def channels_last(images):
    """Return sparse images as they are stored, (N, height, width, channels)."""
    return np.ascontiguousarray(images.dense().transpose(0, 2, 3, 1))
