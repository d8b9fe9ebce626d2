"""Errors that a user can mend: each is one line that says what, where and what is allowed."""

from __future__ import annotations


class HepbenchError(Exception):
    """Something that the user can mend; the command line prints it in one line and exits 2."""


class UsageError(HepbenchError):
    """A wrong name, option or value on the command line."""


class SuiteError(HepbenchError):
    """A suite file that cannot be used."""


class PluginError(HepbenchError):
    """A plugin that breaks its contract."""


class DataError(HepbenchError):
    """A data file that is missing, cut short or not in its original layout."""


class DataWarning(UserWarning):
    """Something odd about a data file that can be read: the records of what used it repeat it."""


class ProtocolError(HepbenchError):
    """A step that would make a figure indefensible: the protocol does not allow it."""


class ExportError(HepbenchError):
    """A network that cannot be exported, or a graph that does not score as the network does."""


class ResultsError(HepbenchError):
    """Results or cache that cannot be read or written."""


class UndefinedMetricError(HepbenchError):
    """A metric that has no value on these examples, such as the AUC of a single class."""


class EmptyClassError(UndefinedMetricError):
    """The examples hold no signal or no background."""
