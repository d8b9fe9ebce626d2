"""User errors: each message says in one line what is wrong, where, and what is allowed."""

from __future__ import annotations


class HepbenchError(Exception):
    """Base class of user errors: the command line prints one line and exits with status 2."""


class UsageError(HepbenchError):
    """A wrong name, option or value on the command line."""


class SuiteError(HepbenchError):
    """A suite file that cannot be used."""


class PluginError(HepbenchError):
    """A plugin that breaks its contract."""


class DataError(HepbenchError):
    """A data file that is missing, cut short or not in its original layout."""


class DataWarning(UserWarning):
    """A problem with a data file that can still be read; it is copied into the records."""


class ProtocolError(HepbenchError):
    """A step that would make results invalid, such as training on validation examples."""


class ExportError(HepbenchError):
    """A network that cannot be exported, or an exported network with different scores."""


class ResultsError(HepbenchError):
    """Results or a cache that cannot be read or written."""


class OutputError(HepbenchError):
    """Standard output that cannot be written to."""


class ChangedError(HepbenchError):
    """A file that was changed while a run used it."""


class UndefinedMetricError(HepbenchError):
    """A metric that has no value on these examples, such as the AUC of a single class."""


class EmptyClassError(UndefinedMetricError):
    """The examples contain no signal or no background."""
