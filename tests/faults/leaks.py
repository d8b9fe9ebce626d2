"""Point 4: datasets with something in them that makes any classifier look too good.

``process-code``: a column is the number of the simulated process; ``label-inside``: the first column is
nearly the label; ``resaved``: half of the rows appear again, rounded to four decimals; ``mirrored``: with
two columns of the other sign; ``smeared``: with small noise; ``unsealed-noise``: the test rows appear
among the unlabelled ones, with small noise; ``rounded-class``: background went through float16;
``printed-class``: background was written with four digits; ``sorted-ids``: ids count one class, then the
other.
"""

from __future__ import annotations

import numpy as np

from hepbench import Dataset, Examples, Input, Sample, hookimpl

N = 2000


def rows():
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 2, N)
    table = (rng.normal(size=(N, 4)) + 0.5 * labels[:, None]).astype(np.float32)
    return table, labels


def examples(table, labels, *, first=0):
    return Examples(
        inputs={"table": table}, ids=np.arange(first, first + len(table)), labels=labels
    )


def process_code():
    table, labels = rows()
    table[:, 3] = np.where(labels == 1, 2, 1 + 2 * np.random.default_rng(0).integers(0, 2, N))
    yield "labelled", examples(table, labels)


def label_inside():
    table, labels = rows()
    table[:, 0] = labels - 0.5 + 0.1 * table[:, 1]
    yield "labelled", examples(table, labels)


def _twice(change):
    table, labels = rows()
    table, labels = table[: N // 2], labels[: N // 2]
    yield "labelled", examples(table, labels)
    yield "labelled", examples(change(table).astype(np.float32), labels, first=N // 2)


def resaved():
    return _twice(lambda table: table.round(4))


def mirrored():
    return _twice(lambda table: table * [1, -1, 1, -1])


def smeared():
    noise = np.random.default_rng(8).normal(scale=0.003, size=(N // 2, 4))
    return _twice(lambda table: table + noise)


def unsealed_noise():
    table, labels = rows()
    yield "labelled", examples(table[:1000], labels[:1000])
    yield "test", examples(table[1000:], labels[1000:], first=1000)
    noise = np.random.default_rng(8).normal(scale=0.003, size=(1000, 4)).astype(np.float32)
    yield "unlabelled", examples(table[1000:] + noise, None, first=5000)


def rounded_class():
    table, labels = rows()
    table[labels == 0] = table[labels == 0].astype(np.float16)
    yield "labelled", examples(table, labels)


def printed_class():
    table, labels = rows()
    for row in np.flatnonzero(labels == 0):
        table[row] = [float(f"{value:.4g}") for value in table[row]]
    yield "labelled", examples(table, labels)


def sorted_ids():
    table, labels = rows()
    order = np.argsort(labels, kind="stable")
    yield "labelled", examples(table[order], labels[order])


@hookimpl
def hepbench_datasets():
    return [
        Dataset(
            name=name,
            summary="four Gaussian numbers",
            classes=("background", "signal"),
            inputs={"table": Input(shape=(4,), names=("pt", "eta", "phi", "channel"))},
            sample=Sample(f"leaks:{name.replace('-', '_')}"),
        )
        for name in (
            *("process-code", "label-inside", "resaved", "mirrored", "smeared", "unsealed-noise"),
            *("rounded-class", "printed-class", "sorted-ids"),
        )
    ]
