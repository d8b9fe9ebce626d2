"""User errors; each message is one line that says what is wrong, where, and what is allowed."""

from __future__ import annotations


class HepbenchError(Exception):
    """A user error: the command line prints it in one line and exits with status 2."""


class UsageError(HepbenchError):
    """A wrong name, option or value on the command line."""


class SuiteError(HepbenchError):
    """A suite file that cannot be used."""


class PluginError(HepbenchError):
    """A plugin that breaks its contract."""


class DataError(HepbenchError):
    """A data file that is missing, cut short or not in its original layout."""


class DataWarning(UserWarning):
    """A problem with a data file that can still be read; records of runs that use it repeat it."""


class ProtocolError(HepbenchError):
    """A step that the protocol forbids, because the result could not be defended."""


class ExportError(HepbenchError):
    """A network that cannot be exported, or whose exported graph gives other scores."""


class ResultsError(HepbenchError):
    """Results or cache that cannot be read or written."""


class OutputError(HepbenchError):
    """Standard output that cannot be written."""


class ChangedError(HepbenchError):
    """A file that was changed while a run used it."""


class UndefinedMetricError(HepbenchError):
    """A metric that has no value on these examples, such as the AUC of a single class."""


class EmptyClassError(UndefinedMetricError):
    """The examples contain no signal or no background."""
