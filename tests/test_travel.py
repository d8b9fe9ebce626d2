"""Results that travel: renamed, copied and zipped folders; two runs in one folder."""

from __future__ import annotations

import io
import json
import shutil
import stat
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pytest
from conftest import TESTS, Workbench

from hepbench.evaluation import record_checks, verify
from hepbench.specs.errors import ResultsError, UsageError
from hepbench.storage import records, stored_arrays
from hepbench.storage.results import Results

RUN = ("run", "two.toml", "--quiet")


SUITE = """
name = "two"
cost = false
seeds = 2
[[run]]
datasets = ["toy"]
models = ["line"]
methods = ["fit"]
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A workbench whose suite ``two`` ran once, as 'first'."""
    bench = Workbench(tmp_path_factory.mktemp("travel"))
    bench.plugin(TESTS / "plugins" / "toys.py")
    bench.write("two.toml", SUITE)
    assert bench(*RUN, "--name", "first").code == 0
    return bench


@pytest.fixture
def results(ran, tmp_path):
    """A copy of its results."""
    return Path(shutil.copytree(ran.folder / "results", tmp_path / "results"))


def verified(results):
    """What verify says of results, and its exit code."""
    opened = Results(results)
    return verify.verify(opened, opened.records())


def record_file(results):
    """The file of a record."""
    return next((results / "two").glob("*.json"))


def zipped(results, path):
    """A results folder as a zip file."""
    with ZipFile(path, "w", ZIP_DEFLATED) as opened:
        for file in sorted(results.rglob("*")):
            opened.write(file, file.relative_to(results))
    return path


def test_a_renamed_a_copied_and_a_zipped_folder_are_verified_by_their_own_files(results, tmp_path):
    """Each of them without difference, whether all results are given or one suite."""
    shutil.copytree(results / "two", results / "copy")
    (results / "two").rename(results / "renamed")
    whole = zipped(results, tmp_path / "all.zip")
    for place in (results, results / "copy", results / "renamed", whole):
        lines, code = verified(place)
        assert (len(lines), code) == (1, 0), lines
        assert "no difference" in lines[0]


def test_a_copy_without_predictions_never_reads_those_of_its_neighbour(results):
    """They are missing, which is no difference."""
    shutil.copytree(results / "two", results / "copy")
    shutil.rmtree(results / "copy" / "predictions")
    lines, code = verified(results / "copy")
    assert code == 1
    assert any(": missing: predictions/" in line for line in lines)
    assert "no difference" in lines[-1]
    assert "with missing files or metrics" in lines[-1]
    assert any(": missing: copy/predictions/" in line for line in verified(results)[0])


def test_changed_predictions_are_a_difference(results):
    """Nothing is missing."""
    next((results / "two" / "predictions").iterdir()).write_bytes(b"PK")
    lines, code = verified(results)
    assert code == 1
    assert not any(": missing: " in line for line in lines)
    assert "with differences" in lines[-1]


def test_a_stray_json_file_is_skipped_with_a_warning(ran, results):
    """Records are read, and the file is named on stderr."""
    (results / "notes.json").write_text("{}")
    (results / "two" / "newer.json").write_text('{"schema_version": 99}')
    opened = Results(results)
    assert opened.records()
    assert ["notes.json" in line or "newer.json" in line for line in opened.skipped] == [True, True]
    done = ran("table", results)
    assert (done.code, done.err.count("warning: ")) == (0, 2)


def test_a_record_copied_over_the_file_of_another_is_noticed(ran, results):
    """By table and verify in one line, and a run does not take it for the other one."""
    file = record_file(results)
    other = file.with_name(f"{'0' * 24}.json")
    shutil.copy(file, other)
    for verb in ("table", "verify"):
        done = ran(verb, results)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert f"{other.name} holds another record, {file.stem}" in done.err
    assert Results(results).read("two", "0" * 24) is None


@pytest.mark.parametrize("path", ["../x.npz", "/etc/passwd", "a/../../x", "a\\x", "", "a//b"])
def test_a_path_that_leads_outside_of_the_folder_is_refused(results, path):
    """Of predictions and of labels."""
    file = record_file(results)
    for name in ("predictions", "labels"):
        changed = json.loads(file.read_bytes())
        changed[name]["path"] = path
        file.write_text(json.dumps(changed))
        with pytest.raises(ResultsError, match="refers to a file outside of its folder"):
            Results(results).records()


def test_a_link_that_leads_outside_of_the_folder_is_refused(results, tmp_path):
    """Its file is a difference, not read."""
    predictions = results / "two" / "predictions"
    predictions.rename(tmp_path / "elsewhere")
    predictions.symlink_to(tmp_path / "elsewhere")
    lines, code = verified(results)
    assert code == 1
    assert "is outside of the results" in lines[0]


def member(name, data=b"{}", *, mode=0o100644, kind=ZIP_DEFLATED):
    """A member of a zip file, and its data."""
    info = ZipInfo(name)
    info.external_attr, info.compress_type = mode << 16, kind
    return info, data


HOSTILE = {
    "leads outside": [member("../x.json")],
    "leads outside ": [member("/etc/x.json")],
    "leads outside  ": [member("two\\x.json")],
    "is a link": [member("two/x", b"/etc/passwd", mode=stat.S_IFLNK | 0o777)],
    "at most 100 times": [member("two/x.json", b" " * 10**6)],
    "contains no records": [member("two/x.txt")],
    "occurs twice": [member("two/x.json"), member("two/x.json")],
    "not stored or deflated": [member("two/x.json", kind=14)],
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("reason", HOSTILE)
def test_a_hostile_zip_file_is_refused(tmp_path, reason):
    """Before anything of it is used."""
    with ZipFile(tmp_path / "x.zip", "w") as opened:
        for info, data in HOSTILE[reason]:
            opened.writestr(info, data)
    with pytest.raises(ResultsError, match=reason.strip()):
        Results(tmp_path / "x.zip").records()


def test_a_zip_file_that_states_wrong_sizes_or_is_cut_short_is_told(results, tmp_path):
    """It is refused, or where only arrays are damaged, verify finds a difference."""
    data = zipped(results, tmp_path / "x.zip").read_bytes()
    with ZipFile(tmp_path / "x.zip") as opened:
        size = max(info.file_size for info in opened.infolist()).to_bytes(4, "little")
    start = data.index(b"PK\x01\x02")
    wrong = data[:start] + data[start:].replace(size, (12345).to_bytes(4, "little"))
    for changed in (wrong, data[: len(data) // 2], data[: start - 100] + data[start:], b"PK"):
        (tmp_path / "x.zip").write_bytes(changed)
        try:
            lines, _ = verified(tmp_path / "x.zip")
        except ResultsError as error:
            lines = [str(error), "with differences"]
        assert "with differences" in lines[-1]
        assert not any("\n" in line for line in lines)


def npy(header, body=b""):
    """An npy file with any header, in an npz file."""
    text = repr(header).encode().ljust(117) + b"\n"
    file = io.BytesIO()
    with ZipFile(file, "w") as opened:
        opened.writestr(
            "test.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body
        )
    return file.getvalue()


@pytest.mark.parametrize(("kind", "shape"), [("<f4", (10**12,)), ("|O", (0,)), ("<f4", (-1,))])
def test_arrays_that_state_what_the_file_does_not_hold_are_refused(kind, shape):
    """No memory is asked for; objects are never read."""
    with pytest.raises(stored_arrays.DAMAGED):
        stored_arrays.load(npy({"descr": kind, "fortran_order": False, "shape": shape}, b"1234"))


def test_arrays_are_what_numpy_wrote():
    """Of any order and shape."""
    file = io.BytesIO()
    arrays = {"c": np.ones((2, 3)), "f": np.asfortranarray(np.eye(3)[:2]), "empty": np.ones((0, 2))}
    np.savez(file, **arrays)
    found = stored_arrays.load(file.getvalue())
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def test_a_second_run_finds_the_records_of_the_first_and_leaves_them_their_run(ran):
    """All is cached, and the last line says which run recorded it."""
    done = ran(*RUN, "--name", "second")
    assert done.code == 0
    assert " cached, 0 done" in done.out
    assert done.out.rstrip().splitlines()[-1].endswith("runs were kept for 2 cells: first")


def test_two_runs_in_one_folder_are_told_apart(ran, tmp_path):
    """Each by its name, a run without a name by its start."""
    place = shutil.copytree(ran.folder / "results", tmp_path / "results")
    assert ran(*RUN, "--set", "model.slope=3", "--results", place).code == 0
    opened = Results(Path(place))
    first, every = opened.records("first"), opened.records()
    (start,) = {record.run for record in every} - {"first"}
    assert {record.provenance.started for record in opened.records(start)} == {start}
    assert len(every) == len(first) + len(opened.records(start))
    assert "slope=3" not in ran("table", place, "--run", "first").out
    assert "slope=3" in ran("table", place, "--run", start).out
    done = ran("verify", place, "--run", "frist")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "Did you mean 'first'?" in done.err
    with pytest.raises(UsageError, match="no run named"):
        opened.records("third")


@pytest.mark.parametrize("name", ["a\nb", " a", "x" * 101, "\x1b[31m"])
def test_a_name_that_is_no_line_of_text_is_refused(ran, name):
    """In one line."""
    done = ran(*RUN, "--name", name)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--name" in done.err


def changed(results, **fields):
    """Change fields of a record, and return the lines of verify about it."""
    file = record_file(results)
    builtins = json.loads(file.read_bytes())
    for path, value in fields.items():
        *most, last = path.split("__")
        place = builtins
        for name in most:
            place = place[name]
        if value is None:
            del place[last]
        else:
            place[last] = value
    file.write_text(json.dumps(builtins))
    return verified(results)[0]


def test_verify_holds_that_keys_follow_from_their_parts(results):
    """A changed part changes its key, and that of the record."""
    record = records.decode(record_file(results).read_bytes())
    assert record_checks.keys_can_be_checked(record)
    lines = changed(results, key_parts__read__fingerprint="another")
    assert any("key of read: recorded" in line for line in lines)
    assert any("key: recorded" in line for line in lines)


def test_verify_holds_that_counts_and_names_agree(results):
    """Of examples with the stored arrays, of the cell with its key."""
    lines = changed(results, data__n_test=7, model="other")
    assert any("test: 7 examples recorded, " in line for line in lines)
    assert any("cell: recorded ['toy', 'other', 'fit', " in line for line in lines)


def test_verify_misses_a_metric_that_was_installed(results):
    """Its value was taken out of the record; this is missing, not different."""
    lines = changed(results, metrics__auc=None)
    assert any(": missing: test auc: not recorded" in line for line in lines)
    assert "no difference" in lines[-1]


def test_failed_cells_are_counted_and_a_folder_with_nothing_else_is_not_fine(toys):
    """They have no values to recompute."""
    toys.write("two.toml", SUITE.replace('["line"]', """["line", "line[does='mute']"]"""))
    toys(*RUN)
    done = toys("verify")
    assert done.code == 0
    assert "2 records of failed cells not verified" in done.out
    for path in (toys.folder / "results/two").glob("*[0-9a-f].json"):
        if "failed" not in path.name:
            path.unlink()
    done = toys("verify")
    assert (done.code, "nothing to verify" in done.out) == (1, True)
