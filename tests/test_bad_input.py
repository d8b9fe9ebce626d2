"""Bad input gives one line on stderr: what, where and what is allowed; exit 2, nothing lost."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from hepbench.storage.records import same

SUITE = """
name = "two"
cost = false
[[run]]
datasets = ["toy"]
models = ["line"]
methods = ["fit"]
"""


@pytest.fixture
def two(toys):
    """Return a workbench with a suite of one cell."""
    toys.write("two.toml", SUITE)
    return toys


def refused(done, *parts):
    """Assert that a command fails with one line that holds some words."""
    assert done.code == 2, (done.code, done.out, done.err)
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("hepbench: ")
    for part in parts:
        assert part in lines[0], lines[0]
    return True


WRONG_COMMANDS = [
    (["run", "tow.toml"], ["tow.toml", "No such file"]),
    (["run", "smoek"], ["no suite named 'smoek'", "Did you mean 'smoke'?"]),
    (["run", "two.toml", "-d", "toyy"], ["'toyy' matches no dataset", "toy"]),
    (["run", "two.toml", "-m", "x*"], ["'x*' matches no model", "line"]),
    (["run", "two.toml", "-x", "svm"], ["'svm' matches no method", "fit"]),
    (["run", "two.toml", "--set", "model.slope"], ["'model.slope'", "KEY=VALUE"]),
    (["run", "two.toml", "--set", "model.slop=2"], ["model.slop", "Did you mean 'model.slope'?"]),
    (["run", "two.toml", "--set", "model.slope=steep"], ["'steep'", "a number is expected"]),
    (["run", "two.toml", "--set", "dataset.n_train=0"], ["toy[n_train] is 0", "at least 1"]),
    (["run", "two.toml", "--preset", "papre"], ["no preset named 'papre'", "'paper'"]),
    (["run", "two.toml", "--seeds", "0"], ["--seeds", "above 0"]),
    (["run", "two.toml", "--jobs", "-1"], ["--jobs", "above 0"]),
    (["run", "two.toml", "--timeout", "soon"], ["soon"]),
    (["run", "two.toml", "--data", "nowhere"], ["--data nowhere", "no such folder"]),
    (["run", "two.toml", "--source", "file"], ["toy", "no original file"]),
    (["run", "two.toml", "--nonsense"], ["--nonsense"]),
    (["rnu"], ["rnu"]),
    (["list", "modles"], ["modles", "Did you mean 'models'?"]),
    (["show", "model", "lime"], ["no model named 'lime'", "Did you mean 'line'?"]),
    (["table"], ["no results in results", "no such folder"]),
    (["table", "two.toml"], ["no results in two.toml"]),
    (["table", "site"], ["no results in site", "no record"]),
    (["verify"], ["no results"]),
    (["verify", "site"], ["no record"]),
    (["why", "toy/line/fit#0"], ["no results"]),
    (["data", "simulate", "toy"], ["toy has no generator"]),
    (["data", "simulate", "tyo"], ["no dataset named 'tyo'"]),
]


@pytest.mark.parametrize(("command", "parts"), WRONG_COMMANDS, ids=lambda x: " ".join(x)[:40])
def test_a_wrong_command_is_refused_in_one_line(two, command, parts):
    """It says what is wrong, where, and what is allowed or similar."""
    refused(two(*command), *parts)


WRONG_SUITES = [
    ("[[run]]", "[[run", ["two.toml", "line"]),
    ("datasets", "dataset", ["$.run[0]: no key named 'dataset'", "Did you mean 'datasets'?"]),
    ('name = "two"', 'nmae = "two"', ["$: no key named 'nmae'", "Did you mean 'name'?"]),
    ('["toy"]', '"toy"', ["two.toml:", "$.run[0].datasets", "a list is expected"]),
    ('["toy"]', "[]", ["datasets at $.run[0] is empty"]),
    ('["toy"]', '["tyo"]', ["no dataset named 'tyo'", "Did you mean 'toy'?"]),
    ('["toy"]', '["t?"]', ["'t?' matches no dataset"]),
    ('["toy"]', '["toy[n=10"]', ["cannot read 'toy[n=10'"]),
    ('["toy"]', '["toy[m=10]"]', ["toy[m]", "no parameter named 'm'"]),
    ('["fit"]', '["again"]', None),
    ('["fit"]', '["fit+fit"]', ["no cell can be run", "fit must follow fresh, not fit"]),
    ('["fit"]', '["fresh"]', ["'fresh'", "must begin a chain"]),
    ('name = "two"', 'name = "../two"', ["name at $.name"]),
    ('name = "two"', 'name = "two"\nseeds = 0', ["seeds at $.seeds"]),
    ('name = "two"', 'name = "two"\nseeds = [1, 1]', ["seeds at $.seeds"]),
    ("methods", "set = { 'model.slop' = 1 }\nmethods", ["model.slop", "'model.slope'"]),
]


@pytest.mark.parametrize(("old", "new", "parts"), WRONG_SUITES, ids=lambda x: str(x)[:30])
def test_a_wrong_suite_is_refused_in_one_line(two, old, new, parts):
    """The message names the file or the place in it."""
    two.write("two.toml", SUITE.replace(old, new))
    done = two("run", "two.toml")
    if parts is None:
        assert done.code == 0
    else:
        refused(done, *parts)


def test_results_below_a_file_are_refused(two):
    """A file cannot hold a results folder; nothing is computed."""
    two.write("file", "")
    refused(two("run", "two.toml", "--results", "file/results"), "cannot write", "file/results")
    assert not (two.folder / "cache" / "stages").exists()


def test_a_cache_that_cannot_be_written_is_refused(two):
    """The message names the folder and how to choose another."""
    two.write("file", "")
    two.environment["HEPBENCH_CACHE"] = str(two.folder / "file" / "cache")
    refused(two("run", "two.toml"), "cache", "HEPBENCH_CACHE")


@pytest.fixture
def mounted(two):
    """Return a function that mounts a small or read-only file system in its own namespace."""
    if not shutil.which("unshare"):
        pytest.skip("needs Linux: unshare")

    def run(options, folder, *arguments):
        """Run a command where ``folder`` is a fresh tmpfs with some options."""
        command = [sys.executable, "-P", "-m", "hepbench", *arguments]
        script = f'mount -t tmpfs -o {options} tmpfs {folder} && exec "$@"'
        return subprocess.run(
            ["unshare", "-rm", "sh", "-c", script, "sh", *command],
            cwd=two.folder, env=dict(two.variables()), capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip

    (two.folder / "small").mkdir()
    if run("size=1m", two.folder / "small", "--help").returncode:
        pytest.skip("needs permission: mount a file system in a namespace")
    return run


def test_a_read_only_results_folder_is_refused(two, mounted):
    """Root ignores permission bits, but not a read-only mount."""
    done = mounted("ro", two.folder / "small", "run", "two.toml", "--results", "small/results")
    assert done.returncode == 2
    assert "Read-only file system" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_full_disk_under_the_results_loses_nothing(two, mounted):
    """The run reports a full disk; once there is room, the next run reads the cached results."""
    options = ("run", "two.toml", "--results", "small/results", "--quiet")
    done = mounted("size=16k", two.folder / "small", *options)
    assert done.returncode == 2, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert two("run", "two.toml").code == 0


def test_a_full_disk_under_the_cache_is_one_line(two, mounted):
    """The running stage is lost, its cell gets a failed record, and the exit code is 2."""
    two.environment["HEPBENCH_CACHE"] = str(two.folder / "small")
    options = ("run", "two.toml", "--quiet", "--set", "dataset.n=100000")
    done = mounted("size=600k", two.folder / "small", *options)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "No space left on device" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_file_size_limit_is_one_line(two):
    """RLIMIT_FSIZE, which batch systems set, is reported like a full disk."""
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = two("run", "two.toml", "--quiet", "--set", "dataset.n=100000", preexec_fn=limit)
    assert done.code == 2
    assert "File too large" in done.out
    assert "Traceback" not in done.out + done.err


def test_an_incomplete_cache_entry_is_built_again(two):
    """A file of the wrong size shows it."""
    assert two("run", "two.toml").code == 0
    scores = next((two.folder / "cache" / "stages").glob("*/*/scores.npz"))
    size = scores.stat().st_size
    scores.write_bytes(scores.read_bytes()[: size // 2])
    shutil.rmtree(two.folder / "results")
    done = two("run", "two.toml")
    assert done.code == 0, done.err
    assert scores.stat().st_size == size
    assert two("verify").code == 0


@pytest.mark.slow
def test_one_flipped_bit_in_any_file_of_the_cache_changes_nothing(two):
    """The damaged stage is built again in the run that needs it, and the record is the same."""
    assert two("run", "two.toml").code == 0
    before = two.records()["toy/line/fit#0"]
    stages = two.folder / "cache" / "stages"
    contents = {path: path.read_bytes() for path in stages.glob("*/*/**/*") if path.is_file()}
    assert {path.name for path in contents} >= {"manifest.json", "scores.npz"}
    for path, content in contents.items():
        place = len(content) * 3 // 4
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        shutil.rmtree(two.folder / "results")
        # without the method's stage, those that it reads are needed
        (method,) = (found.parent for found in stages.glob("*/*/scores.npz"))
        if not path.is_relative_to(method):
            shutil.rmtree(method)
        assert two("run", "two.toml").code == 0, path.name
        assert same(two.records()["toy/line/fit#0"], before), path.name
        assert path.name == "manifest.json" or path.read_bytes() == content


def test_an_incomplete_record_is_named_and_written_again(two):
    """table and verify name the file; a run replaces it without computing anything."""
    assert two("run", "two.toml").code == 0
    record = next((two.folder / "results" / "two").glob("*.json"))
    whole = record.read_bytes()
    record.write_bytes(whole[:100])
    for verb in ("table", "verify"):
        refused(two(verb), record.name, "truncated")
    assert two("run", "two.toml").code == 0
    assert two("table").code == 0


def test_a_syntax_error_in_a_plugin_is_one_line(two):
    """The message names the helper module."""
    two.plugin((two.site / "toys.py").read_text(), "toys")
    (two.site / "helper.py").write_text("def broken(:\n")
    path = two.site / "toys.py"
    path.write_text(
        path.read_text().replace(
            "import os\n", "import os\n\n\ndef late():\n    import helper\n", 1
        )
    )
    refused(two("run", "two.toml"), "helper.py", "is not valid Python")
