"""Keys: equal parts, equal keys; and computing modules that may not change unnoticed."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import hepbench
from hepbench.registry.syntax import drop_docstrings
from hepbench.storage import keys

CORE = Path(hepbench.__file__).parent
COMPUTING = {
    "read": ("data/example_checks", "data/read_stage", "specs/sparse_images", "storage/npy_files"),
    "split": ("data/duplicates", "data/split_stage", "data/splits", "data/stored_parts",
              "specs/sparse_images"),
    "inputs": ("data/example_checks", "data/inputs_stage", "data/stored_parts", "specs/sparse_images",
               "storage/npy_files"),
    "method": ("data/event_weights", "data/splits", "data/stored_parts", "evaluation/metrics",
               "evaluation/uncertainty", "specs/sparse_images", "specs/training_data",
               *sorted(p.relative_to(CORE).with_suffix("").as_posix()
                       for p in (CORE / "training").rglob("*.py") if p.name != "__init__.py")),
    "cost": (*sorted(f"cost/{p.stem}" for p in (CORE / "cost").glob("*.py")),
             "storage/machine"),
    "evaluate": ("data/event_weights", "data/splits", "evaluation/consistency",
                 "evaluation/effective_examples", "evaluation/joining", "evaluation/measure",
                 "evaluation/metric_audit", "evaluation/metric_calls", "evaluation/metrics",
                 "evaluation/significance", "evaluation/uncertainty"),
    "compare": ("data/event_weights", "evaluation/joining", "evaluation/measure",
                "evaluation/metric_calls", "evaluation/metrics", "evaluation/paired",
                "evaluation/row_comparison", "evaluation/significance",
                "evaluation/stored_predictions", "evaluation/uncertainty", "specs/metric"),
}  # fmt: skip
KNOWN = Path(__file__).with_name("numerics.json")

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), values))
def test_a_key_does_not_depend_on_the_order_of_its_parts(parts):
    """A mapping written backwards is the same mapping."""
    assert keys.key(parts) == keys.key(dict(reversed(parts.items())))


def test_another_value_is_another_key():
    """An integer is not a float, a list is not its reverse."""
    different = [{"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": [1, 2]}, {"a": [2, 1]}, {"b": 1}, {}]
    assert len({keys.key(parts) for parts in different}) == len(different)


@given(st.dictionaries(st.text(), values), st.dictionaries(st.text(), values))
def test_differences_are_none_exactly_where_nothing_differs(old, new):
    """What differs in a key is named, what does not is not."""
    same = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert bool(keys.differences(old, new)) != same or old == new


def digest(modules):
    """Return the digest of some modules of the core, without comments and docstrings."""
    found = hashlib.sha256()
    for name in modules:
        tree = ast.parse((CORE / f"{name}.py").read_bytes())
        drop_docstrings(tree)
        found.update(ast.dump(tree).encode())
    return found.hexdigest()[:16]


def test_the_numerics_version_is_raised_when_a_computing_module_changes():
    """Records made before a change of numbers must not pass for records made after it.

    When this fails: raise NUMERICS[kind] in keys.py if the change can alter a number; then, in
    any case, write the digests anew with: python tests/test_keys.py
    """
    known = json.loads(KNOWN.read_text())
    now = {kind: [keys.NUMERICS[kind], digest(modules)] for kind, modules in COMPUTING.items()}
    assert now == known


if __name__ == "__main__":
    found = {kind: [keys.NUMERICS[kind], digest(modules)] for kind, modules in COMPUTING.items()}
    KNOWN.write_text(json.dumps(found, indent=1) + "\n")
