"""Fetching: what breaks off is resumed, what is another file is refused, never under its name."""

from __future__ import annotations

import hashlib
import json
import signal
import time

import numpy as np
import pytest
from servers import Served, serving

from hepbench import DataError, File
from hepbench.data import fetch

CONTENT = np.random.default_rng(0).bytes(1_000_003)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"<!DOCTYPE html><html><body>log in</body></html>"

PUBLISHED = {
    "nothing": {},
    "its size": {"bytes": len(CONTENT)},
    "its checksum": {"sha256": SHA256},
    "both": {"bytes": len(CONTENT), "sha256": SHA256},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Wait no second between tries, and ask no proxy for this machine."""
    monkeypatch.setattr(fetch, "WAITS_SECONDS", (0, 0))
    monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", 2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    """Return a server of CONTENT."""
    with serving(Served(CONTENT)) as served:
        yield served


def of(server, folder, *, path="/file", **published):
    """Return the fetch of the file that a server has."""
    url = server.address.replace("/file", path)
    file = File(name="jets.h5", url=url, address="https://page.example", **published)
    return fetch.Fetch("jets", file, folder, lambda _: None)


def whole(fetching, folder):
    """Fetch, and assert that the file and nothing else is there."""
    assert fetching() == folder / "jets.h5"
    assert (folder / "jets.h5").read_bytes() == CONTENT
    return [path.name for path in folder.iterdir()] == ["jets.h5"]


def refused(fetching, *parts, part=None):
    """Assert that nothing gets the file's name, in one line of some words; and what is kept."""
    with pytest.raises(DataError) as caught:
        fetching()
    text = str(caught.value)
    assert text.startswith("jets: jets.h5: ")
    assert "\n" not in text
    for each in (*parts, "by hand: https://page.example"):
        assert each in text
    assert not fetching.target.exists()
    kept = fetching.partial.path.read_bytes() if fetching.partial.path.exists() else b""
    assert kept == (part or b"")
    return True


def ranges(server):
    return [asked.get("Range") for asked in server.asked]


@pytest.mark.parametrize("published", PUBLISHED.values(), ids=PUBLISHED)
def test_a_file_is_fetched_whole_and_leaves_nothing_beside_it(server, tmp_path, published):
    """In one request, whatever is published of it."""
    assert whole(of(server, tmp_path, **published), tmp_path)
    assert ranges(server) == [None]


@pytest.mark.parametrize("published", PUBLISHED.values(), ids=PUBLISHED)
@pytest.mark.parametrize("chunked", [False, True])
def test_what_breaks_off_is_resumed_where_it_broke_off(server, tmp_path, published, chunked):
    """Each further request asks for what is missing, of the same file only."""
    server.cuts, server.chunked = [100_000, 65_536, 3], chunked
    assert whole(of(server, tmp_path, **published), tmp_path)
    assert ranges(server) == [None, *(f"bytes={n}-" for n in (100_000, 165_536, 165_539))]
    assert all(asked["If-Range"] == '"one"' for asked in server.asked[1:])


def test_a_last_modified_date_tells_a_file_too(server, tmp_path):
    """Where the server has no ETag, or a weak one."""
    server.etag, server.modified = 'W/"one"', "Sat, 21 Nov 2026 20:00:00 GMT"
    server.cuts = [100_000]
    assert whole(of(server, tmp_path), tmp_path)
    assert server.asked[1]["If-Range"] == server.modified
    assert ranges(server) == [None, "bytes=100000-"]


def test_a_server_that_ignores_ranges_is_read_from_the_start(server, tmp_path):
    """Its answer takes the place of the part, it is never appended."""
    server.ranges, server.cuts = False, [100_000, 200_000]
    assert whole(of(server, tmp_path), tmp_path)
    assert ranges(server) == [None, "bytes=100000-", "bytes=200000-"]


def test_another_range_than_was_asked_for_is_not_appended(server, tmp_path):
    """The file is then fetched from its start."""
    server.ranges, server.cuts = "shifted", [100_000]
    assert whole(of(server, tmp_path), tmp_path)
    assert ranges(server) == [None, "bytes=100000-", None]


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(server, tmp_path):
    """Its new content alone, no mixture of both."""
    before, server.content = server.content, bytes(1_000_003)
    server.cuts = [100_000] + [0] * 9
    assert refused(of(server, tmp_path), "the connection ended", part=bytes(100_000))
    server.content, server.etag, server.cuts = before, '"two"', []
    assert whole(of(server, tmp_path), tmp_path)


def test_what_says_nothing_of_itself_is_resumed_only_where_a_checksum_will_tell(server, tmp_path):
    """Without ETag, date and checksum the rest may belong to another file."""
    server.etag, server.cuts = "", [100_000]
    assert whole(of(server, tmp_path), tmp_path)
    assert ranges(server) == [None, None]
    (tmp_path / "jets.h5").unlink()
    server.asked, server.cuts = [], [100_000]
    assert whole(of(server, tmp_path, sha256=SHA256), tmp_path)
    assert ranges(server) == [None, "bytes=100000-"]


def test_a_whole_part_is_checked_and_not_asked_for_again(server, tmp_path):
    """As after a kill in the moment before it gets its name."""
    fetching = of(server, tmp_path, sha256=SHA256)
    fetching.partial.path.write_bytes(CONTENT)
    # no note beside it: the server says that nothing is left
    assert whole(fetching, tmp_path)
    assert ranges(server) == [f"bytes={len(CONTENT)}-"]


def test_a_part_that_is_too_long_is_fetched_anew(server, tmp_path):
    """The server has nothing from there on, and says so."""
    fetching = of(server, tmp_path, sha256=SHA256)
    fetching.partial.path.write_bytes(CONTENT + b"more")
    assert whole(fetching, tmp_path)
    assert ranges(server) == ["bytes=1000007-", None]


def test_wrong_bytes_are_removed(server, tmp_path):
    """A checksum that was published is that of the file, whatever its size."""
    server.content = CONTENT[:-1] + b"!"
    assert refused(
        of(server, tmp_path, sha256=SHA256), "checksum", "differs from the published one"
    )


def test_a_part_with_wrong_bytes_is_removed_and_the_next_fetch_is_right(server, tmp_path):
    """A resumed file is checked whole, not only what came last."""
    fetching = of(server, tmp_path, sha256=SHA256)
    fetching.partial.path.write_bytes(bytes(1000))
    assert refused(fetching, "checksum")
    assert whole(fetching, tmp_path)


@pytest.mark.parametrize("length", [999_999, 1_000_004])
def test_another_length_than_was_published_is_refused_at_once(server, tmp_path, length):
    """Before a byte of it is written."""
    server.length = length
    parts = (f"{length:,} bytes", "the published one 1,000,003")
    assert refused(of(server, tmp_path, bytes=len(CONTENT)), *parts)
    assert len(server.asked) == 1


def test_a_length_that_is_too_large_is_a_connection_that_breaks_off(server, tmp_path):
    """What came is kept, without the file's name."""
    server.length, server.ranges = 1_000_009, False
    fetching = of(server, tmp_path)
    assert refused(fetching, "ended at 1,000,003 of 1,000,009 bytes", part=CONTENT)


@pytest.mark.parametrize("published", [{"bytes": 1_000_003}, {"sha256": SHA256}])
def test_without_a_length_what_was_published_decides(server, tmp_path, published):
    """The end of the connection is none: a part is resumed, or found wrong by its checksum."""
    server.length, server.cuts = None, [100_000]
    fetching = of(server, tmp_path, **published)
    if "sha256" in published:
        assert refused(fetching, "checksum")
    assert whole(fetching, tmp_path)


def test_without_a_length_nothing_published_nothing_is_fetched(server, tmp_path):
    """Nobody could say whether it is whole."""
    server.length = None
    assert refused(of(server, tmp_path), "states its size")


def test_more_than_was_published_is_removed(server, tmp_path):
    """It is not read to its end, if it has one."""
    server.length, server.content = None, CONTENT * 3
    assert refused(of(server, tmp_path, bytes=len(CONTENT)), "the published file has 1,000,003")


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream", ""])
@pytest.mark.parametrize("published", [{}, {"sha256": SHA256}])
def test_a_page_is_refused(server, tmp_path, kind, published):
    """What asks to log in is no file, whatever it is called."""
    server.content, server.headers = PAGE, {"Content-Type": kind}
    assert refused(of(server, tmp_path, **published), "returns a web page instead of the file")


def test_a_page_in_between_costs_nothing_of_the_part(server, tmp_path):
    """As of a network that wants to be logged in to."""
    server.cuts = [100_000] + [0] * 9
    fetching = of(server, tmp_path)
    assert refused(fetching, "the connection ended", part=CONTENT[:100_000])
    server.cuts, server.headers = [], {"Content-Type": "text/html"}
    assert refused(fetching, "web page", part=CONTENT[:100_000])
    server.headers, server.asked = {}, []
    assert whole(fetching, tmp_path)
    assert ranges(server) == ["bytes=100000-"]


@pytest.mark.parametrize("published", PUBLISHED.values(), ids=PUBLISHED)
def test_nothing_is_no_file(server, tmp_path, published):
    """An empty answer gets no name, even where nothing is published."""
    server.content = b""
    assert refused(of(server, tmp_path, **published), "bytes")


def test_compressed_content_is_refused(server, tmp_path):
    """The file's own bytes are needed; the server was asked for them."""
    server.headers = {"Content-Encoding": "gzip"}
    assert refused(of(server, tmp_path), "sends it compressed")
    assert server.asked[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_file_that_is_not_to_be_had_is_refused_at_once(server, tmp_path, code):
    """The code and its reason are told; asking again would not help."""
    server.answers = [code]
    assert refused(of(server, tmp_path), f"answers {code} (")
    assert len(server.asked) == 1


def test_a_server_that_is_busy_is_asked_again(server, tmp_path):
    """Some times; then what came is kept."""
    server.answers = [503, 429]
    assert whole(of(server, tmp_path), tmp_path)
    (tmp_path / "jets.h5").unlink()
    server.answers = [503] * 3
    assert refused(of(server, tmp_path), "answers 503 (Service Unavailable); by hand")


def test_redirects_are_followed_with_the_range(server, tmp_path):
    """As of archives that keep their files elsewhere; one in a circle is an error."""
    server.cuts = [100_000]
    assert whole(of(server, tmp_path, path="/moved"), tmp_path)
    assert ranges(server) == [None, None, "bytes=100000-", "bytes=100000-"]
    (tmp_path / "jets.h5").unlink()
    assert refused(of(server, tmp_path, path="/around"), "answers 302", "infinite loop")


def test_nobody_at_the_address_is_one_line(tmp_path):
    """After some tries."""
    with serving(Served(CONTENT)) as server:
        pass
    assert refused(of(server, tmp_path), "no answer from http://127.0.0.1", "Connection refused")


def test_a_server_that_falls_silent_is_asked_again(server, tmp_path, monkeypatch):
    """No byte for a while is the end of a try; the next goes on from there."""
    monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", 0.2)
    server.content, server.seconds = CONTENT[:150_000], 0.5
    of(server, tmp_path)()
    assert (tmp_path / "jets.h5").read_bytes() == CONTENT[:150_000]
    assert ranges(server)[:2] == [None, "bytes=65536-"]


@pytest.mark.parametrize("url", ["ftp://host/jets.h5", "file:///etc/passwd", "jets.h5"])
def test_other_addresses_are_refused(tmp_path, url):
    """Only http and https are spoken."""
    file = File(name="jets.h5", url=url, address="https://page.example")
    fetching = fetch.Fetch("jets", file, tmp_path, lambda _: None)
    assert refused(fetching, "does not begin with http")


def test_what_does_not_fit_on_the_disk_is_not_begun(server, tmp_path):
    """It says how much is missing."""
    server.length = 10**17
    assert refused(of(server, tmp_path), "GB are still needed", "are free")


def test_two_at_a_time_do_not_write_into_one_part(server, tmp_path):
    """The second is told so, and the first goes on."""
    first, second = (of(server, tmp_path) for _ in range(2))
    told = []

    def meanwhile(_):
        with pytest.raises(DataError, match="another process is downloading it"):
            second()
        told.append(True)

    assert whole(fetch.Fetch(first.dataset, first.file, tmp_path, meanwhile), tmp_path)
    assert told


PLUGIN = """
from hepbench import Dataset, File, Input, Original, hookimpl


@hookimpl
def hepbench_datasets():
    return [
        Dataset(
            name="jets",
            summary="jets from a server",
            classes=("background", "signal"),
            inputs={{"table": Input(shape=(1,))}},
            original=Original(
                "nowhere:read",
                files=(
                    File(name="jets.h5", url="{url}", bytes={size}, sha256="{sha256}"),
                    File(name="more.h5", role="unlabelled", address="https://page.example/share"),
                ),
            ),
        )
    ]
"""


@pytest.fixture
def jets(bench, server):
    """Return a workbench with a dataset of a file on the server, and of one behind a page."""
    source = PLUGIN.format(url=server.address, size=len(CONTENT), sha256=SHA256)
    bench.plugin(source, "served")
    bench.environment["no_proxy"] = "127.0.0.1"
    return bench


def heeding_ctrl_c():
    # a shell has what it starts in the background ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_fetch_is_resumed(jets, server, number):
    """What came before is not asked for again; Ctrl-C says so and exits 130."""
    server.seconds = 0.2
    command = ("data", "fetch", "jets", "--data", "files", "--file", "jets.h5")
    part = jets.folder / "files" / "jets" / "jets.h5.part"
    with jets.start(*command, preexec_fn=heeding_ctrl_c) as process:
        while not (part.exists() and part.stat().st_size > 200_000):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        err = process.communicate()[1]
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "run the same command again to resume" in err
    kept = part.stat().st_size
    assert part.read_bytes() == CONTENT[:kept]
    server.seconds, server.asked = 0.0, []
    done = jets(*command)
    assert done.code == 0, done.err
    assert ranges(server) == [f"bytes={kept}-"]
    assert part.with_suffix("").read_bytes() == CONTENT
    assert "its checksum matches the published one" in done.out
    assert "hepbench data check jets --data files" in done.out


def test_what_needs_a_browser_is_told_with_its_folder(jets):
    """The rest is fetched all the same; the exit code is 1, for something is left to do."""
    done = jets("data", "fetch", "jets", "--data", "files")
    assert done.code == 1, done.err
    folder = jets.folder / "files" / "jets"
    assert (folder / "jets.h5").read_bytes() == CONTENT
    expected = f"In a browser, open\n  https://page.example/share\nand save it as\n  {folder}"
    assert f"{expected}/more.h5" in done.out
    listed = jets("data", "list", "--data", "files", "--json").json
    (facts,) = (each for each in listed if each["name"] == "jets")
    assert [bool(file["path"]) for file in facts["files"]] == [True, False]


def test_what_is_there_is_not_fetched_again_and_never_overwritten(jets, server):
    """A file of another size is named and left alone."""
    command = ("data", "fetch", "jets", "--data", "files", "--file", "jets.h5")
    assert jets(*command).code == 0
    server.asked = []
    assert "exists" in jets(*command).out
    path = jets.folder / "files" / "jets" / "jets.h5"
    path.write_bytes(b"mine")
    done = jets(*command)
    assert done.code == 2
    assert "exists with 4 bytes, the published file has 1,000,003" in done.err
    assert path.read_bytes() == b"mine"
    assert not server.asked


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("jets",), "give --data DIR, or set HEPBENCH_DATA"),
        (("jest", "--data", "files"), "Did you mean 'jets'?"),
        (("jets", "--data", "files", "--file", "jets.h6"), "Did you mean 'jets.h5'?"),
        (("toy", "--data", "files"), "toy: this dataset declares no original files"),
        (("jets", "--data", "site/served.py"), "--data site/served.py is not a folder"),
    ],
)
def test_a_wrong_fetch_is_refused_in_one_line(jets, toys, arguments, words):
    """What is wrong, and what is near."""
    done = jets("data", "fetch", *arguments)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert words in line


PUBLISHED = f'bytes={len(CONTENT)}, sha256="{SHA256}"'
CHECKED = {
    PUBLISHED: "its checksum matches the published one",
    f"bytes={len(CONTENT)}": "its size matches the published one; no checksum is published",
    "": "neither size nor checksum is published",
}


@pytest.mark.parametrize(("known", "words"), CHECKED.items())
def test_what_a_file_was_compared_with_is_told(bench, server, known, words):
    """And that it was compared with nothing, where nothing is known."""
    source = PLUGIN.format(url=server.address, size=len(CONTENT), sha256=SHA256)
    assert PUBLISHED in source
    bench.plugin(source.replace(PUBLISHED, known), "served")
    bench.environment["no_proxy"] = "127.0.0.1"
    done = bench("data", "fetch", "jets", "--data", "files", "--file", "jets.h5")
    assert done.code == 0, done.err
    assert words in done.out


def test_a_refused_fetch_is_one_line(jets, server):
    """Exit 2, no traceback, and nothing under the file's name."""
    server.content = PAGE
    done = jets("data", "fetch", "jets", "--data", "files")
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith("hepbench: jets: jets.h5: the server's file has")
    folder = jets.folder / "files" / "jets"
    assert not (folder / "jets.h5").exists()


def test_a_note_that_is_damaged_is_none(server, tmp_path):
    """The part is then resumed only where a checksum will tell."""
    fetching = of(server, tmp_path)
    fetching.partial.path.write_bytes(bytes(10))
    for text in ("", "[]", json.dumps({"url": "another", "validator": '"one"'})):
        fetching.partial.path.with_name("jets.h5.part.json").write_text(text)
        fetching.partial.path.write_bytes(bytes(10))
        assert whole(fetching, tmp_path)
        (tmp_path / "jets.h5").unlink()
