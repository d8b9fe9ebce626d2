"""Figures of a metric against the number of training examples or labels: lines, names, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import METRICS
from test_label_efficiency import CURVE, SCRATCH, TUNED, counted, rows

from hepbench.plots import drawing
from hepbench.plots.request import Request
from hepbench.plots.results import training_size
from hepbench.specs.errors import UsageError
from hepbench.storage.records import Value
from hepbench.tables.columns import Columns
from hepbench.tables.rows import collect

COLUMNS = Columns(group="dataset", labels=(), names=("auc",), metrics=METRICS)
BETTER = {0.01: 0.75, 0.1: 0.85, 1.0: 0.95}


def panels(records):
    return training_size.panels(collect(records, columns=["auc"]), "auc", COLUMNS)


def request(records, **more):
    return Request(
        results="results", records=records, metrics=METRICS, count_labels=counted, **more
    )


def test_rows_that_differ_in_labels_only_are_a_line():
    """Fewest labels first; the line that ends best comes first."""
    (panel,) = panels(rows("s", SCRATCH, CURVE) + rows("p+f", TUNED, BETTER))
    assert (panel.axis, panel.dataset) == ("label_fraction", "higgs")
    assert panel.names == ["p+f", "s"]
    for line in panel.lines:
        assert [training_size.sized_rows.number(row) for row in line] == [30, 300, 3000]


def test_other_datasets_and_single_rows_have_no_part_in_a_panel():
    """A dataset has a panel of its own, and a row alone is no line."""
    records = rows("s", SCRATCH, CURVE) + rows("s", SCRATCH, CURVE, dataset="jets")
    found = panels([*records, *rows("p+f", TUNED, {1.0: 0.9})])
    assert [panel.dataset for panel in found] == ["higgs", "jets"]
    assert [len(panel.lines) for panel in found] == [1, 1]


def test_a_line_looks_the_same_in_all_panels():
    """Whichever line is first in a panel, and whether it must be compared or not."""
    records = rows("s", SCRATCH, CURVE) + rows("p+f", TUNED, BETTER)
    records += rows("s", SCRATCH, BETTER, dataset="jets") + rows(
        "p+f", TUNED, CURVE, dataset="jets"
    )
    found = panels(records)
    assert found[0].names == found[1].names[::-1]
    looks = training_size.line_looks(found)
    assert sorted(looks) == sorted(found[0].names)
    assert len(set(looks.values())) == 2


def test_rows_of_another_split_are_marked():
    """They must not be compared with the others."""
    from msgspec.structs import replace

    other = [
        replace(r, chain="t", data=replace(r.data, split_hash="other"))
        for r in rows("t", SCRATCH, CURVE)
    ]
    records = rows("s", SCRATCH, CURVE) + rows("p+f", TUNED, BETTER) + other
    (panel,) = panels(records)
    assert [name.endswith("†") for name in panel.names] == [False, False, True]
    assert "must not be compared with the others: split" in panel.notes[0]


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(0.001, 0.3)), min_size=1, max_size=12),
    st.floats(1, 2),
)
def test_names_of_lines_do_not_overlap(given, highest):
    """They are in the order of the lines, below the top, and stay if they already are."""
    places, heights = np.array(given).T
    found = training_size.apart(places, heights, highest=highest)
    order = np.argsort(places, kind="stable")
    ordered, tall = found[order], heights[order]
    assert (np.diff(ordered) >= (tall[1:] + tall[:-1]) / 2 - 1e-9).all()
    assert ordered[-1] + tall[-1] / 2 <= highest + 1e-9
    again = training_size.apart(found, heights, highest=highest)
    np.testing.assert_allclose(again, found, atol=1e-9)


@pytest.mark.parametrize("error", ["auc", "accuracy"])
def test_a_figure_is_drawn_or_says_what_is_missing(tmp_path, error):
    """A metric without values has no lines."""
    records = rows("s", SCRATCH, CURVE) + rows("p+f", TUNED, BETTER)
    path = tmp_path / "sizes.svg"
    if error == "auc":
        drawing.make("training-size", request(records), path)
        text = path.read_text()
        assert "labels" in text
    else:
        with pytest.raises(UsageError, match="nothing to draw: no rows with a value differ in"):
            drawing.make("training-size", request(records, error=error), path)


def test_a_line_is_labelled_with_its_label_efficiency():
    """Of its fewest labels, in the figure's words."""
    from hepbench.tables.label_efficiency import fill

    records = rows("s", SCRATCH, CURVE) + rows("p+f", TUNED, BETTER)
    found = fill(collect(records, columns=["auc"]), "auc", counted)
    (panel,) = training_size.panels(found, "auc", COLUMNS)
    text = training_size.line_label(panel.names[0], panel.lines[0])
    assert text == "p+f\n30 labels: as 95 from scratch"
    assert training_size.line_label(panel.names[1], panel.lines[1]) == "s"


def test_limits_have_open_markers_which_the_caption_explains():
    """No background passed in one of the seeds of a point."""
    from msgspec.structs import replace

    records = rows("s", SCRATCH, CURVE)
    records[0] = replace(records[0], metrics={"auc": Value(0.7, limit=True)})
    (sheet,) = drawing.drawn("training-size", request(records))
    markers = [line for line in sheet.figure.axes[0].get_lines() if line.get_mfc() == "white"]
    assert [line.get_ydata().tolist() for line in markers] == [[pytest.approx(0.7)]]
    assert "open markers: lower limits" in sheet.caption
    (sheet,) = drawing.drawn("training-size", request(records[2:]))
    assert "open markers" not in sheet.caption


def test_an_unknown_metric_is_refused():
    """With those that are known."""
    with pytest.raises(UsageError, match=r"no metric named 'aux'. Did you mean 'auc'"):
        drawing.drawn("training-size", request(rows("s", SCRATCH, CURVE), error="aux"))
