"""Importing timm beside a torchvision that works, that lacks operators, or that fails otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VIT = "from hepbench_models.timm_import import import_timm; import_timm({!r})\n"


def python(code, *folders):
    """Run Python code in a process of its own; folders come first on its path."""
    path = os.pathsep.join(map(str, (*folders, ROOT, ROOT / "plugins")))
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def packages(tmp_path):
    """Return a function that writes a timm and a torchvision with some code."""

    def write(**sources):
        for name, source in sources.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text(source)
        return tmp_path

    return write


def test_timm_is_imported_beside_the_installed_torchvision():
    """Twice gives the same module, and torchvision can be imported afterwards."""
    code = VIT.format("timm.models.vision_transformer") + (
        "import sys, torchvision\n"
        "again = import_timm('timm.models.vision_transformer')\n"
        "print(again is sys.modules['timm.models.vision_transformer'])"
    )
    done = python(code)
    assert (done.stdout, done.stderr) == ("True\n", "")


REGISTERS = (
    "import torch\n"
    "for name in ('nms', 'qnms'):\n"
    "    torch.library.register_fake(f'torchvision::{name}')(lambda *_: None)\n"
)


def test_missing_operators_are_declared_and_half_imported_modules_go(packages):
    """The module that stopped half-way is run again; others are not."""
    folder = packages(torchvision=REGISTERS, timm="import half\nimport torchvision\nwhole = True")
    (folder / "half.py").write_text("print('once')")
    done = python(VIT.format("timm") + "print(import_timm('timm').whole)", folder)
    assert (done.stdout, done.stderr) == ("once\nTrue\n", "")


def test_a_torchvision_that_works_is_left_as_it_is(packages):
    """Nothing is declared: its own operators are the only ones."""
    working = (
        "import torch\n"
        "own = torch.library.Library('torchvision', 'DEF')\n"
        "own.define('nms(Tensor boxes) -> Tensor')\n" + REGISTERS.replace(", 'qnms'", ",")
    )
    folder = packages(torchvision=working, timm="import torchvision")
    code = VIT.format("timm") + (
        "import torch\n"
        "print(torch.ops.torchvision.nms.default._schema, hasattr(torch.ops.torchvision, 'qnms'))"
    )
    done = python(code, folder)
    assert (done.stdout, done.stderr) == (
        "torchvision::nms(Tensor boxes) -> Tensor False\n",
        "",
    )


@pytest.mark.parametrize(
    "source",
    [
        "raise RuntimeError('operator torchvision::other does not exist')",
        "raise RuntimeError('operator torchvision::nms does not exist')",
        "raise RuntimeError('out of memory')",
        "raise ImportError('no timm here')",
    ],
    ids=["operator", "declared", "memory", "import"],
)
def test_any_other_error_is_raised(packages, source):
    """Also one that goes on naming an operator that was declared."""
    done = python(VIT.format("timm"), packages(timm=source))
    assert done.returncode == 1
    said = source.partition("'")[2].partition("'")[0]
    assert said in done.stderr.splitlines()[-1]
