"""README: its lists of datasets and files, its commands and its suite are those of the code."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from hepbench.cli.catalogue import size_text
from hepbench.cli.commands import cli
from hepbench.planning.suite_file import parse
from hepbench.registry.plugins import installed

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FOLDERS = ("hepbench", *sorted(f"plugins/{p.name}" for p in ROOT.glob("plugins/hepbench_*")))


def listed():
    """Return the list of files: one line each, the first of its docstring."""
    lines = []
    for folder in FOLDERS:
        lines += ["", f"`{folder}/`", "", "| file | what it holds |", "|---|---|"]
        for path in sorted((ROOT / folder).rglob("*.py")):
            first = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
            lines.append(f"| `{path.relative_to(ROOT / folder)}` | {first} |")
    return "\n".join(lines).strip() + "\n"


def datasets():
    """Return a table of the datasets that come with hepbench."""
    lines = ["| dataset | what it is | inputs, and what views make | original | sample |"]
    lines.append("|---|---|---|---|---|")
    for entry in installed().entries("dataset"):
        if entry.plugin.distribution == "hepbench-plugins":
            spec = entry.spec
            sample = f"{spec.sample.examples:,} examples"
            lines.append(
                f"| `{spec.name}` | {spec.summary} | {inputs(spec)} | {size(spec)} | {sample} |"
            )
    return "\n".join(lines) + "\n"


def inputs(spec):
    shapes = {name: " x ".join(map(str, given.shape)) for name, given in spec.inputs.items()}
    read = [f"{name} {shape}" for name, shape in shapes.items() if name != "mask"]
    made = [name for name in spec.views if name not in {*spec.inputs, "mask"}]
    return "; ".join(filter(None, [", ".join(read), ", ".join(made)]))


def size(spec):
    """Return the size of the files of the first form, where all are known."""
    sizes = [file.bytes for file in spec.files if file.form == spec.files[0].form]
    return size_text(sum(sizes)) if all(sizes) else "size not known"


GENERATED = {"datasets": datasets, "files": listed}
SECTION = r"(?<=<!-- {} -->\n\n).*?(?=\n#+ )"


def section(name):
    """Return what stands behind a marker, up to the next heading."""
    found = re.search(SECTION.format(name), README.read_text(), re.DOTALL)
    return found.group() if found else ""


@pytest.mark.parametrize("name", GENERATED)
def test_every_file_and_every_dataset_is_listed(name):
    """A newcomer finds each room; write the lists anew with: python tests/test_readme.py"""
    assert section(name) == GENERATED[name]()


def test_every_verb_is_in_the_table_of_commands():
    """And nothing that does not exist is."""
    verbs = set(re.findall(r"`(?:hepbench )?(\w+) ?[^`]*`", section_of_commands()))
    assert set(cli.commands) <= verbs


def section_of_commands():
    text = README.read_text()
    return text[text.index("## The commands") : text.index("## A suite")]


def test_the_suite_in_the_readme_is_one():
    """It parses as strictly as any other."""
    text = README.read_text()
    block = re.search(r"```toml\n(.*?)```", text[text.index("## A suite") :], re.DOTALL)
    assert tomllib.loads(block.group(1))
    assert parse(block.group(1).encode(), "README.md").name == "mine"


def test_the_plugin_in_the_readme_is_one(bench):
    """Its entry point finds its module, and its metric keeps what metrics promise."""
    text = README.read_text()
    text = text[text.index("## A plugin") :]
    source, project = (
        re.search(rf"```{language}\n(.*?)```", text, re.DOTALL).group(1)
        for language in ("python", "toml")
    )
    (module,) = tomllib.loads(project)["project"]["entry-points"]["hepbench"].values()
    bench.plugin(source, module)
    done = bench("check", "certainty")
    assert (done.code, "0 failed" in done.out) == (0, True), done.out + done.err


def test_help_of_every_verb_says_what_it_does():
    """One sentence at least."""
    for name, command in cli.commands.items():
        done = CliRunner().invoke(cli, [name, "--help"])
        assert done.exit_code == 0
        assert command.help


if __name__ == "__main__":
    for name, make in GENERATED.items():
        before, _, after = README.read_text().partition(f"<!-- {name} -->\n\n")
        _, heading, rest = after.partition("\n#")
        README.write_text(f"{before}<!-- {name} -->\n\n{make()}{heading}{rest}")
