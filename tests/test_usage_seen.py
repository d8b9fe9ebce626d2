"""What a stage used, seen without an opened file: names, links, variables, versions, libraries."""

from __future__ import annotations

import ctypes.util
import shutil
import sqlite3
import subprocess
import sys

import pytest
from one_number import auc, run, run_twice_and_change

WHY = ("why", "points/line/fit#0", "--suite", "s.toml")


def used_by(bench):
    """Return what each stage of the only cell used."""
    return bench.records()["points/line/fit#0"].used.values()


LISTINGS = {
    "glob": "import glob\ndef names(): return glob.glob(FOLDER + '/**/*.txt', recursive=True)\n",
    "Path.glob": "from pathlib import Path\ndef names(): return list(Path(FOLDER).glob('*.txt'))\n",
    "os.listdir": "import os\ndef names(): return [n for n in os.listdir(FOLDER) if n[-4:] == '.txt']\n",
    "resources": "from importlib.resources import files\n"
    "def names(): return [f for f in files('pack').joinpath('tables').iterdir() if f.name[-4:] == '.txt']\n",
}
COUNT = """
FOLDER = __file__.rpartition("/")[0] + "/tables"
{names}
def slope():
    return 3 - 2 * len(names())
"""


@pytest.mark.parametrize("how", LISTINGS)
def test_a_new_file_in_a_listed_folder_runs_its_cells_again(pack, how):
    """However it was listed; hidden files and compiled modules are no names."""
    pack.write("site/pack/slope.py", COUNT.format(names=LISTINGS[how]))
    pack.write("site/pack/tables/one.txt", "")

    def change():
        pack.write("site/pack/tables/.one.txt.swp", "")
        pack.write("site/pack/tables/__pycache__/one.pyc", "")
        assert run(pack) == 0
        pack.write("site/pack/tables/two.txt", "")
        assert "  pack/tables/: " in pack(*WHY).out

    run_twice_and_change(pack, change)


def test_a_folder_that_a_stage_writes_into_is_no_input(pack):
    """Its names, and those of the folders that Python searches, count for nothing."""
    folder = pack.folder / "out"
    folder.mkdir()
    pack.write(
        "site/pack/slope.py",
        "import os, sys\nfrom pathlib import Path\n"
        f"def slope():\n    out = Path('{folder}')\n"
        "    (out / str(len(os.listdir(out)))).write_text('')\n"
        "    [os.listdir(p) for p in sys.path if os.path.isdir(p)]\n    return 1\n",
    )
    assert run(pack) == 1
    pack.write("out/more", "")
    pack.write("other/new.py", "")
    assert run(pack) == 0


def test_a_link_that_leads_elsewhere_runs_its_cells_again(pack):
    """The content counts that it leads to."""
    pack.write("site/pack/slope.py", "def slope(): return open(__file__[:-3] + '.txt').read()\n")
    for value in (1, -1):
        pack.write(f"tables/{value}.txt", str(value))
    link = pack.folder / "site/pack/slope.txt"
    link.symlink_to(pack.folder / "tables/1.txt")

    def change():
        link.unlink()
        link.symlink_to(pack.folder / "tables/-1.txt")

    run_twice_and_change(pack, change)


VARIABLES = {
    "os.environb": "import os\ndef slope(): return os.environb.get(b'HEPBENCH_SLOPE', b'1')\n",
    "in": "import os\ndef slope(): return -1 if 'HEPBENCH_SLOPE' in os.environ else 1\n",
}


@pytest.mark.parametrize("how", VARIABLES)
def test_a_variable_that_is_set_runs_its_cells_again(pack, how):
    """However it was asked for."""
    pack.write("site/pack/slope.py", VARIABLES[how])

    def change():
        pack.environment["HEPBENCH_SLOPE"] = "-1"
        assert "variable HEPBENCH_SLOPE: not set -> set" in pack(*WHY).out

    run_twice_and_change(pack, change)


def test_another_home_runs_its_cells_again(pack):
    """And so does a change of a configuration in it."""
    pack.write(
        "site/pack/slope.py",
        "from pathlib import Path\ndef slope(): return (Path.home() / '.packrc').read_text()\n",
    )
    for home, value in (("one", 1), ("two", -1)):
        pack.write(f"{home}/.packrc", str(value))
    pack.environment["HOME"] = str(pack.folder / "one")
    run_twice_and_change(pack, lambda: pack.environment.update(HOME=str(pack.folder / "two")))
    pack.write("two/.packrc", "1")
    assert run(pack) == 1


def test_the_file_that_a_variable_names_runs_its_cells_again(pack):
    """Both count: the file, and the variable."""
    pack.write(
        "site/pack/slope.py",
        "import os\nfrom pathlib import Path\n"
        "def slope():\n    named = os.environ.get('HEPBENCH_CASES_SLOPE')\n"
        "    return Path(named).read_text() if named else 1\n",
    )
    outside = pack.write("outside.txt", "-1")
    run_twice_and_change(pack, lambda: pack.environment.update(HEPBENCH_CASES_SLOPE=str(outside)))
    outside.write_text("1")
    assert run(pack) == 1


def test_a_constant_of_the_package_runs_its_cells_again(pack):
    """The module that holds the hooks counts as far as others import from it."""
    pack.write("site/pack/slope.py", "from pack import SLOPE\ndef slope(): return SLOPE\n")
    hooks = pack.folder / "site/pack/__init__.py"

    def change():
        hooks.write_text(hooks.read_text().replace("SLOPE = 1.0", "SLOPE = -1.0"))
        assert "model_code.pack:SLOPE" in pack(*WHY).out

    run_twice_and_change(pack, change)


def test_the_version_that_a_stage_asks_for_runs_its_cells_again(pack):
    """Without an import of the library."""
    pack.write(
        "site/pack/slope.py",
        "from importlib.metadata import version\ndef slope(): return 3 - 2 * int(version('lib-one'))\n",
    )
    info = pack.write(
        "conda/site-packages/lib_one-1.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: lib-one\nVersion: 1\n",
    )

    def change():
        info.write_text(info.read_text().replace("Version: 1\n", "Version: 2\n"))
        assert "lib_one: 1 -> 2" in pack(*WHY).out

    run_twice_and_change(pack, change)


def test_a_changed_database_runs_its_cells_again(pack):
    """SQLite opens it in C; one that a stage writes into is no input."""
    table, notes = pack.folder / "table.db", pack.folder / "notes.db"
    pack.write(
        "site/pack/slope.py",
        "import sqlite3\ndef slope():\n"
        f"    with sqlite3.connect('{notes}') as base:\n"
        "        base.execute('UPDATE number SET value = value + 1')\n"
        f"    return sqlite3.connect('file:{table}?mode=ro', uri=True)"
        ".execute('SELECT value FROM number').fetchone()[0]\n",
    )
    for base in (table, notes):
        with sqlite3.connect(base) as connection:
            connection.executescript("CREATE TABLE number(value); INSERT INTO number VALUES (1)")

    def change():
        with sqlite3.connect(table) as connection:
            connection.execute("UPDATE number SET value = -1")

    run_twice_and_change(pack, change)


def test_a_compiled_library_of_a_plugin_runs_its_cells_again(pack):
    """Loaded by ctypes; those of the system, and of other libraries, count for nothing."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = pack.folder / "site/pack/compiled.so"
    system = ctypes.util.find_library("m")
    pack.write(
        "site/pack/slope.py",
        f"import ctypes\ndef slope():\n    ctypes.CDLL('{system}')\n"
        "    return ctypes.CDLL(__file__.replace('slope.py', 'compiled.so')).slope()\n",
    )

    def build(value):
        source = pack.write("slope.c", f"int slope(void) {{ return {value}; }}")
        new = pack.folder / "new.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", new, source], check=True)
        new.replace(library)

    build(1)
    run_twice_and_change(pack, lambda: build(-1))
    files = {name for used in used_by(pack) for name in used.files}
    assert files == {"pack/parts.py", "pack/slope.py", "pack/compiled.so"}


def test_scipy_counts_where_scikit_learn_is_used(pack):
    """It was imported before the stage began, and its version is in no key."""
    from importlib.metadata import version

    pack.write("site/pack/slope.py", "import sklearn.linear_model\ndef slope(): return 1\n")
    hooks = pack.folder / "site/pack/__init__.py"
    hooks.write_text(
        hooks.read_text().replace("build=", "imports=('sklearn.linear_model',), build=")
    )
    assert run(pack) == 1
    versions = {item for used in used_by(pack) for item in used.distributions.items()}
    assert versions == {("scipy", version("scipy"))}


BETWEEN = """
from pathlib import Path

@hookimpl
def hepbench_cell_finished(record):
    source = Path(__file__).with_name("slope.py")
    new = source.with_suffix(".new")
    new.write_text("def slope(): return -1")
    if source.read_text() != new.read_text():
        new.replace(source)
"""


def test_a_module_that_changes_between_two_cells_fails_the_later_ones(pack):
    """Nothing of the new code is recorded under the old key; the next run does them."""
    # slow, so that the hook runs before all cells have imported it
    slow = "import time\ntime.sleep(1)\ndef slope(): return 1\n"
    pack.write("site/pack/slope.py", slow)
    hooks = pack.folder / "site/pack/__init__.py"
    hooks.write_text(hooks.read_text() + BETWEEN)
    done = pack("run", "s.toml", "--seeds", "3", "--jobs", "1")
    assert done.code == 2
    assert "was changed since the run began; run again" in done.err
    good = [record for record in pack.records().values() if record.status == "ok"]
    assert 1 <= len(good) < 3
    assert {record.metrics["auc"].value > 0.5 for record in good} == {True}
    assert run(pack, "--seeds", "3") == 3
    assert auc(pack) < 0.5


def install(*arguments):
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "-q", *arguments, *options]
    subprocess.run(command, check=True, capture_output=True)


PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "0.1"
[project.entry-points.{group}]
{name} = "{name}"
"""


@pytest.mark.slow
def test_a_reinstalled_plugin_runs_nothing_again(pack):
    """The same wheel, twice; a wheel of the same version with another number does."""
    source, site = pack.folder / "site", pack.folder / "lib/site-packages"
    pack.write("site/pack/slope.py", "def slope(): return open(__file__[:-3] + '.txt').read()\n")
    number = pack.write("site/pack/slope.txt", "1")
    pack.write("site/pyproject.toml", PROJECT.format(name="pack", group="hepbench"))
    shutil.rmtree(source / "pack-0.1.dist-info")
    path = pack.environment["PYTHONPATH"]
    pack.environment["PYTHONPATH"] = path.replace(str(source), str(site))
    wheels = pack.folder / "wheels"

    def build():
        install("wheel", "--wheel-dir", wheels, source)
        install_wheel()

    def install_wheel():
        (wheel,) = wheels.glob("*.whl")
        install("install", "--upgrade", "--target", site, wheel)

    def change():
        install_wheel()
        assert run(pack) == 0
        number.write_text("-1")
        build()

    build()
    run_twice_and_change(pack, change)


@pytest.mark.slow
def test_an_edit_of_an_editable_distribution_runs_its_cells_again(pack):
    """Of one that the plugin imports; installing it once more runs nothing."""
    lib = pack.folder / "lib/site-packages"
    pack.write("project/pyproject.toml", PROJECT.format(name="helper", group="others"))
    source = pack.write("project/helper/__init__.py", "SLOPE = 1\n")
    pack.write("site/pack/slope.py", "import helper\ndef slope(): return helper.SLOPE\n")
    # Python reads the .pth files of this folder as those of an environment
    pack.write("other/sitecustomize.py", f"import site\nsite.addsitedir('{lib}')\n")

    def change():
        install("install", "--upgrade", "--target", lib, "-e", pack.folder / "project")
        assert run(pack) == 0
        source.write_text("SLOPE = -1\n")
        assert "helper/__init__.py: " in pack(*WHY).out

    install("install", "--target", lib, "-e", pack.folder / "project")
    run_twice_and_change(pack, change)
