"""Skips: each says what it needs, and CI fails if one remains that no step undoes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import needs
import pytest
import skipped

HERE = Path(__file__).parent
MAKEFILE = f"""\
test:
\t{sys.executable} -m pytest -p no:cacheprovider test_it.py test_more.py
slow:
\t{sys.executable} -m pytest -p no:cacheprovider test_slow.py
extras:
\ttouch extra
"""
CONFTEST = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import skipped
def pytest_terminal_summary(terminalreporter):
    skipped.record(terminalreporter.stats.get("skipped", []))
"""
TESTS = """
import pathlib, pytest
needs_extra = pytest.mark.skipif(not pathlib.Path("extra").exists(), reason="needs the extra a[b]")
def test_always(): pass
@pytest.mark.parametrize("name", ["a b", "[x]::y"])
@needs_extra
def test_extra(name): pass
"""
MODULE = """
import pathlib, pytest
if not pathlib.Path("extra").exists():
    pytest.skip("needs the extra a[b]", allow_module_level=True)
def test_one(): pass
def test_two(): pass
"""


@pytest.fixture
def project(tmp_path):
    """Return a function that writes a project and runs both steps: exit code and printed lines."""
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "test_more.py").write_text("def test_more(): pass\n")
    (tmp_path / "test_slow.py").write_text("def test_slow(): pass\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)

    def run(tests, slow=""):
        (tmp_path / "test_it.py").write_text(tests)
        if slow:
            (tmp_path / "test_slow.py").write_text(slow)
        done = subprocess.run(
            [sys.executable, skipped.__file__],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
            # but for xdist, which the last step asks for, plugins only take time to import
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin"},
        )  # fmt: skip
        return done.returncode, done.stdout.splitlines()

    return run


needs_make = needs.needs_linux("make", found=bool(shutil.which("make")))


def skip_all(reason):
    return f"import pytest\n@pytest.mark.skip(reason={reason!r})\ndef test_never(): pass\n"


@needs_make
def test_tests_skipped_for_an_extra_run_once_it_is_installed(project):
    """Only these; the last line is pytest's."""
    code, lines = project(TESTS)
    assert code == 0
    assert any("2 passed, 2 skipped in" in line for line in lines)
    assert lines[-1].strip("= ").startswith("2 passed in")


@needs_make
def test_a_file_skipped_as_a_whole_runs_as_a_whole(project):
    """The node id of its skip is the file."""
    code, lines = project(MODULE)
    assert code == 0
    assert lines[-1].strip("= ").startswith("2 passed in")


@needs_make
@pytest.mark.parametrize(
    ("reason", "code", "title"),
    [
        ("because", 1, "FAILED: skipped, and no step of .ci/run undoes it:"),
        ("needs the extra a[c]", 1, "FAILED: skipped, and no step of .ci/run undoes it:"),
        ("needs real data: x.npz is missing in /data", 1, "FAILED: skipped, and no step of"),
        ("needs real data: set HEPBENCH_REAL_DATA", 0, "skipped, and nothing can be installed"),
        ("needs Linux: /proc", 0, "skipped, and nothing can be installed to undo it:"),
    ],
)
def test_a_skip_that_no_step_undoes_is_a_failure(project, reason, code, title):
    """Unless its reason is listed; it is told either way, and pytest's line comes last."""
    found, lines = project(TESTS + skip_all(reason))
    assert found == code
    (at,) = [i for i, line in enumerate(lines) if line.startswith(title)]
    assert lines[at + 1] == f"  test_it.py::test_never: {reason}"
    assert " passed" in lines[at + 2]
    assert lines[at + 2 :] == lines[-1:]


@needs_make
@pytest.mark.parametrize("step", [1, 2])
def test_a_failed_test_is_a_failure(project, step):
    """In either step; the last line is that of the step."""
    needed = "@needs_extra\n" if step == 2 else ""
    code, lines = project(f"{TESTS}{needed}def test_fails(): assert 0\n")
    assert code == 1
    assert "1 failed" in lines[-1]


@needs_make
def test_a_failed_slow_test_is_a_failure(project):
    """What was skipped for want of an extra does not run then."""
    code, lines = project(TESTS, slow="def test_fails(): assert 0\n")
    assert code == 1
    assert "1 failed" in lines[-1]


@needs_make
def test_pytest_that_cannot_start_is_a_failure(project):
    """Nothing is recorded then."""
    assert project("import no_such_module")[0] == 1


@pytest.mark.parametrize(
    ("line", "closing"),
    [
        ("12 passed in 3.2s", True),
        ("=== 1 failed, 12 passed, 3 skipped in 603.20s (0:10:03) ===", True),
        ("=========== no tests ran in 0.01s ===========", True),
        ("3 passed the check in time", False),
        ("tests/test_x.py:3: took 3 s in 2.1s", False),
    ],
)
def test_the_closing_line_is_known(line, closing):
    assert bool(skipped.CLOSING.match(line)) == closing


def test_an_extra_that_does_not_exist_is_an_error():
    """A misspelled one would be skipped forever."""
    with pytest.raises(ValueError, match=r"^hepbench-plugins\[panda\]: .* has no such extra$"):
        needs.needs_extra("hepbench-plugins[panda]")


@pytest.mark.parametrize(
    ("version", "installed"), [("2.2", True), ("3.0rc1", True), ("2.1", False), (None, False)]
)
def test_an_extra_is_installed_if_all_of_it_is(monkeypatch, version, installed):
    """In versions that it allows."""
    versions = {"pandas": version, "tables": "3.10"}

    def find(name):
        if versions[name] is None:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    required = [
        "numpy",
        'pandas>=2.2; extra == "pandas"',
        'tables; extra == "pandas"',
        'x; extra == "y"',
    ]
    monkeypatch.setattr(needs.metadata, "requires", lambda name: required)
    monkeypatch.setattr(needs.metadata, "version", find)
    mark = needs.needs_extra("hepbench-plugins[pandas]").mark
    assert mark.args == (not installed,)
    assert mark.kwargs == {"reason": "needs the extra hepbench-plugins[pandas]"}
    assert mark.kwargs["reason"].startswith(skipped.EXTRA)


@pytest.mark.parametrize("path", ["", "higgs/HIGGS.csv.gz"])
def test_real_data_that_is_missing_is_named(monkeypatch, tmp_path, path):
    """Without the folder the skip may remain; with it, a missing file is a failure of CI."""
    monkeypatch.setattr(needs, "REAL_DATA", tmp_path / "none")
    assert needs.missing_real_data(path) in skipped.UNAVAILABLE
    monkeypatch.setattr(needs, "REAL_DATA", tmp_path)
    expected = f"needs real data: {path} is missing in {tmp_path}" if path else ""
    assert needs.missing_real_data(path) == expected
