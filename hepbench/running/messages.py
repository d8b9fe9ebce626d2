"""Messages between the main process and a worker, as JSON: nothing is unpickled."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hepbench.running.usage import UsageOrder


class StageOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A stage that a worker is to run, as the main process sends it.

    Attributes:
        run: ``"module:function"`` of ``(task, workspace) -> result``.
        task: as JSON; the function says of which type it is.
        parents: folders of the stages that it depends on.
        folder: where the finished stage goes.
        planned: digests of its sources when the run was planned, by module.
        files: labels of the files that specs declare for its functions.
    """

    key: str
    run: str
    task: msgspec.Raw
    parents: list[str]
    folder: str
    planned: dict[str, str]
    files: tuple[str, ...] = ()


class JobOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The stages that one worker is to run, in order, with its memory limit and folders.

    Attributes:
        memory: bytes that the worker may take; 0: no limit.
        scratch: a folder of its own.
        usage: what it needs to find what its stages used.
    """

    stages: list[StageOrder]
    memory: int
    scratch: str
    usage: UsageOrder

    @property
    def cache(self) -> str:
        """The cache folder, which contains the scratch folder."""
        return str(Path(self.scratch).parents[1])

    @property
    def log(self) -> str:
        """The path of the file that receives what plugins print."""
        return f"{self.scratch}/log"


class Started(msgspec.Struct, frozen=True, tag=True, tag_field="event"):
    """A worker reports that a stage begins, or goes on after it has waited."""

    key: str


class Waiting(msgspec.Struct, frozen=True, tag=True, tag_field="event"):
    """A worker reports that a stage waits to be alone on the machine, which may take long."""

    key: str


class Working(msgspec.Struct, frozen=True, tag=True, tag_field="event"):
    """A worker reports the progress of a stage, in a few words."""

    key: str
    progress: str


class Done(msgspec.Struct, frozen=True, tag=True, tag_field="event"):
    """A worker reports that a stage is finished and its folder is in the cache."""

    key: str


class Failed(msgspec.Struct, frozen=True, tag=True, tag_field="event", kw_only=True):
    """A worker reports that a stage failed; ``user_error``: the user can remove the cause."""

    key: str
    type: str
    message: str
    traceback: str
    user_error: bool


Event = Started | Waiting | Working | Done | Failed


def encode(event: Event) -> bytes:
    """Return an event of a worker as JSON."""
    return msgspec.json.encode(event)


def decode(data: bytes) -> Event:
    """Return the event of a worker from its JSON."""
    return _decoder.decode(data)


_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def decode_order(data: bytes) -> JobOrder:
    """Return the order of a worker from its JSON."""
    return _order_decoder.decode(data)


_order_decoder = msgspec.json.Decoder(JobOrder)
