"""The page about the architecture: its picture of the packages, and the plugin that it shows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from test_architecture import BELOW

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "architecture.md"


def test_the_picture_has_each_package_above_those_that_it_imports():
    """And no package that does not exist."""
    picture = (PAGE.parent / "packages.svg").read_text()
    drawn = re.findall(r'<text x="[\d.]+" y="([\d.]+)" class="name">(\w+)<', picture)
    heights = {name: float(y) for y, name in drawn if name != "plugins"}
    assert set(heights) == set(BELOW)
    for name, others in BELOW.items():
        assert all(heights[name] < heights[other] for other in others.split()), name


def test_the_plugin_is_one(bench):
    """Its entry point finds its module, and its metric keeps what metrics promise."""
    text = PAGE.read_text()
    source, project = (
        re.search(rf"```{language}\n(.*?)```", text, re.DOTALL).group(1)
        for language in ("python", "toml")
    )
    (module,) = tomllib.loads(project)["project"]["entry-points"]["hepbench"].values()
    bench.plugin(source, module)
    done = bench("check", "certainty")
    assert (done.code, "0 failed" in done.out) == (0, True), done.out + done.err
