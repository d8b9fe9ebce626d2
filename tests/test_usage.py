"""What a stage used: a cell runs again after a change of it, and only then."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from one_number import run, run_twice_and_change

READ_SIDE = "from pathlib import Path\ndef slope(): return Path('{side}').read_text()\n"
DYNAMIC = "import importlib\ndef slope(): return importlib.import_module('{name}').SLOPE\n"
PACKAGED = """
from importlib.resources import files

def slope():
    return (files('pack') / 'slope.txt').read_text()
"""
EXECUTED = """
from pathlib import Path

def slope():
    names = {}
    exec(Path('{side}').read_text(), names)
    return names['SLOPE']
"""
LOADED = """
import importlib.util, sys

def slope():
    spec = importlib.util.spec_from_file_location("loaded", "{side}")
    sys.modules["loaded"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SLOPE
"""
VENDORED = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).with_name("vendor")))

def slope():
    import vendored
    return vendored.SLOPE
"""
CASES = {
    "a module imported by name": (
        DYNAMIC.format(name="pack.hidden"),
        "site/pack/hidden.py",
        "SLOPE = {value}\n",
    ),
    "a module imported by an imported module": (
        "import importlib\ndef slope(): return importlib.import_module('between').hidden.SLOPE\n",
        "other/hidden.py",
        "SLOPE = {value}\n",
    ),
    "package data": (
        PACKAGED,
        "site/pack/slope.txt",
        "{value}",
    ),
    "a file beside the suite": (READ_SIDE, "slope.yaml", "{value}"),
    "a file that is executed": (
        EXECUTED,
        "elsewhere/run.py",
        "SLOPE = {value}\n",
    ),
    "package data by pkgutil": (
        "import pkgutil\ndef slope(): return pkgutil.get_data('pack', 'slope.txt')\n",
        "site/pack/slope.txt",
        "{value}",
    ),
    "lines of a file": (
        "import linecache\ndef slope(): return linecache.getline('{side}', 1)\n",
        "elsewhere/table.csv",
        "{value}\n",
    ),
    "a script that is run": (
        "import runpy\ndef slope(): return runpy.run_path('{side}')['SLOPE']\n",
        "elsewhere/script.py",
        "SLOPE = {value}\n",
    ),
    "a module loaded from a path": (LOADED, "elsewhere/any.py", "SLOPE = {value}\n"),
    "a module in a folder that the plugin adds to the path": (
        VENDORED,
        "site/pack/vendor/vendored.py",
        "SLOPE = {value}\n",
    ),
    "an editable distribution": (
        DYNAMIC.format(name="edited"),
        "other/edited.py",
        "SLOPE = {value}\n",
    ),
    "a library in a second site-packages": (
        DYNAMIC.format(name="alone"),
        "conda/site-packages/alone.py",
        "SLOPE = {value}\n",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_changed_file_runs_its_cells_again(pack, case):
    """However the file was found and read; why names it, and plan announces its stages."""
    source, side, text = CASES[case]
    path = pack.write(side, text.format(value=1))
    pack.write("site/pack/slope.py", source.replace("{side}", str(path)))

    def change():
        path.write_text(text.format(value=-1))
        assert path.name in pack("why", "points/line/fit#0", "--suite", "s.toml").out
        plan = pack("plan", "s.toml").out.splitlines()
        assert [line.split()[:2] for line in plan if "to run, for" in line] == [["fit", "line"]]

    run_twice_and_change(pack, change)


def test_a_changed_file_that_git_ignores_runs_its_cells_again(pack):
    """Git is not asked, in a working folder of its own too."""
    pack.write("site/pack/slope.py", PACKAGED)
    path = pack.write("site/pack/slope.txt", "1")
    pack.write(".gitignore", "*.txt\n")
    subprocess.run(["git", "init", "-q", pack.folder], check=True)
    run_twice_and_change(pack, lambda: path.write_text("-1"))


def test_a_changed_variable_runs_its_cells_again(pack):
    """A copy of the whole environment, as for a child process, depends on no variable."""
    pack.write(
        "site/pack/slope.py",
        "import os\ndef slope():\n    dict(os.environ)\n    return os.environ.get('SLOPE', 1)\n",
    )

    def change():
        pack.environment |= {"OTHER": "2"}
        assert run(pack) == 0
        pack.environment |= {"SLOPE": "-1"}
        assert "variable SLOPE" in pack("why", "points/line/fit#0", "--suite", "s.toml").out

    run_twice_and_change(pack, change)


def test_another_version_of_a_library_runs_its_cells_again(pack):
    """A library is known by its version; why names both."""
    pack.write("site/pack/slope.py", "def slope():\n    import libone\n    return libone.SLOPE\n")
    library = pack.write("conda/site-packages/libone.py", "SLOPE = 1\n")
    info = pack.write(
        "conda/site-packages/libone-1.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: libone\nVersion: 1\n",
    )

    def change():
        library.write_text("SLOPE = -1\n")
        info.write_text(info.read_text().replace("Version: 1\n", "Version: 2\n"))
        assert "libone: 1 -> 2" in pack("why", "points/line/fit#0", "--suite", "s.toml").out

    run_twice_and_change(pack, change)


def test_a_plugin_behind_a_link_is_followed(pack):
    """Its files count under the names of the package."""
    (pack.folder / "site/pack").rename(pack.folder / "real")
    (pack.folder / "site/pack").symlink_to(pack.folder / "real")
    pack.write(
        "real/slope.py",
        "from pathlib import Path\n"
        "def slope(): return (Path(__file__).resolve().parent / 'slope.txt').read_text()\n",
    )
    path = pack.write("real/slope.txt", "1")
    run_twice_and_change(pack, lambda: path.write_text("-1"))
    used = pack.records()["points/line/fit#0"].used["fit line"]
    assert "pack/slope.txt" in used.files


def test_a_zipped_plugin_is_followed(pack):
    """The archive counts as a whole."""
    folder, archive = pack.folder / "site", pack.folder / "pack.zip"

    def build(value):
        (folder / "pack/slope.py").write_text(f"def slope(): return {value}\n")
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    file.write(path, path.relative_to(folder))

    build(1)
    path = pack.environment["PYTHONPATH"]
    pack.environment["PYTHONPATH"] = path.replace(str(folder), str(archive))
    pack.site.rename(pack.folder / "unused")
    folder = pack.folder / "unused"
    run_twice_and_change(pack, lambda: build(-1))


def test_what_changes_no_content_runs_nothing_again(pack):
    """Times, comments, bytecode, the number of jobs, another folder, a moved package and cache."""
    source = pack.write("site/pack/slope.py", PACKAGED)
    data = pack.write("site/pack/slope.txt", "1")
    assert run(pack, "--jobs", "2") == 1
    for path in (source, data):
        os.utime(path)
    source.write_text(f"# a comment\n{source.read_text()}")
    hooks = pack.folder / "site/pack/__init__.py"
    hooks.write_text(hooks.read_text().replace("SLOPE = 1.0", "SLOPE = 2.0"))
    pack.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    assert run(pack, "--jobs", "1") == 0
    shutil.rmtree(pack.folder / "results")
    shutil.copytree(pack.folder / "site", pack.folder / "moved")
    shutil.rmtree(pack.folder / "site")
    shutil.copytree(pack.folder / "cache", pack.folder / "copy")
    pack.environment["HEPBENCH_CACHE"] = str(pack.folder / "copy")
    path = pack.environment["PYTHONPATH"]
    pack.environment["PYTHONPATH"] = path.replace(
        str(pack.folder / "site"), str(pack.folder / "moved")
    )
    (pack.folder / "elsewhere").mkdir()
    plan = pack("plan", "../s.toml", cwd=pack.folder / "elsewhere")
    assert "0 of them to run" in plan.out, plan.out


def test_bytecode_runs_nothing_again(pack):
    """Written, read, removed, or not written at all; the source behind it counts."""
    pack.write("site/pack/slope.py", DYNAMIC.format(name="alone"))
    source = pack.write("conda/site-packages/alone.py", "SLOPE = 1\n")
    compiled = source.with_name("__pycache__")
    pack.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    assert run(pack) == 1
    pack.environment["PYTHONDONTWRITEBYTECODE"] = ""
    assert run(pack) == 0
    pack.forget()
    assert run(pack) == 1
    assert compiled.exists()
    pack.forget()
    assert run(pack) == 1
    shutil.rmtree(compiled)
    pack.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    assert run(pack) == 0
    source.write_text("SLOPE = -1\n")
    assert run(pack) == 1


EDIT = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
EDITED = """
from pathlib import Path
import subprocess

def slope():
    value = Path("{folder}/side.txt").read_text()
    if Path("{folder}/now").exists():
        Path("{folder}/now").unlink()
        command = ["{python}", "{folder}/edit.py", "{folder}/{path}", "{text}"]
        subprocess.run(command, check=True)
    return value
"""
EDITS = {
    "its own module": ("site/pack/slope.py", "def slope(): return 1"),
    "a file that it read": ("side.txt", "-1"),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_file_that_changes_while_a_stage_runs_fails_it(pack, what):
    """One line says which, exit code 2; the next run does it again."""
    path, text = EDITS[what]
    for name, content in (("side.txt", "1"), ("now", ""), ("edit.py", EDIT)):
        pack.write(name, content)
    source = EDITED.format(folder=pack.folder, path=path, text=text, python=sys.executable)
    pack.write("site/pack/slope.py", source)
    done = pack("run", "s.toml")
    assert done.code == 2
    assert "was changed since the run began; run again" in done.err
    assert run(pack) == 1


def test_entries_and_records_without_what_they_used_are_made_again(pack):
    """They come from an older version, and nobody can tell whether they are still right."""
    pack.write("site/pack/slope.py", "def slope(): return 1\n")
    assert run(pack) == 1
    from hepbench.storage import records

    (path,) = (pack.folder / "results/s").glob("*.json")
    record = records.decode(path.read_bytes(), name=path)
    path.write_bytes(records.encode(record.__class__(**{f: getattr(record, f) for f in record.__struct_fields__ if f != "used"})))  # fmt: skip
    assert "older hepbench" in pack("why", "points/line/fit#0", "--suite", "s.toml").out
    assert pack("table").code == 0
    assert run(pack) == 1


def test_every_installed_package_belongs_to_the_distribution_that_python_names():
    """Python's own list takes ten times as long, so ours is another."""
    from importlib import metadata

    from hepbench.registry import libraries

    names = {top: found.metadata["Name"] for top, found in libraries.distributions().items()}
    theirs = metadata.packages_distributions()
    assert {"torch", "sklearn", "PIL"} <= names.keys()
    assert {top: names.get(top) in found for top, found in theirs.items()} == dict.fromkeys(
        theirs, True
    )
    assert libraries.distribution_of("PIL") == ("pillow", metadata.version("pillow"))
    assert libraries.distribution_of("no_such_package") is None


def test_a_plugin_is_never_imported_by_the_fork_server():
    """Only hepbench and libraries: edited code would live on in all later workers."""
    from hepbench.registry import libraries

    assert libraries.is_library("numpy.random", frozenset())
    assert libraries.is_library("hepbench.running.worker", frozenset())
    assert not libraries.is_library("hepbench_models.mlp", frozenset({"hepbench_models"}))
    assert not libraries.is_library("conftest", frozenset())
