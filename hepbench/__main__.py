"""Run the command ``hepbench``; print a user error in one line, with exit code 2."""

from __future__ import annotations

import errno
import signal
import sys

import click

from hepbench.cli import streams
from hepbench.running import interrupts
from hepbench.specs.errors import HepbenchError
from hepbench.specs.text import one_line, shortened
from hepbench.storage.durable import DISK_ERRORS

SHELL_LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
"""Error numbers of exhausted resources: open files, memory, processes."""


PLACES = DISK_ERRORS | {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE}
"""Errors about files or folders whose cause the user can remove."""


def main() -> None:
    """Run the command line."""
    interrupts.install()
    try:
        streams.prepare()
        code = _command()
    except interrupts.Interrupted as interrupted:
        fail(interrupted.message, 128 + interrupted.number)
    except (KeyboardInterrupt, click.exceptions.Abort):
        # raised by a plugin
        fail(interrupts.Interrupted(signal.SIGINT).message, 128 + signal.SIGINT)
    except HepbenchError as error:
        fail(str(error), 2)
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        sys.exit(2)
    except click.ClickException as error:
        fail(error.format_message(), 2)
    except MemoryError:
        fail(f"out of memory{SEE_LIMITS}", 2)
    except OSError as error:
        if error.errno not in SHELL_LIMITS | PLACES:
            raise
        fail(_error_text(error), 2)
    sys.exit(code if isinstance(code, int) else 0)


def _command() -> object:
    from hepbench.cli.commands import cli

    return cli.main(standalone_mode=False, prog_name="hepbench")


def _error_text(error: OSError) -> str:
    if error.errno in SHELL_LIMITS:
        return f"{error.strerror}{SEE_LIMITS}"
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)


SEE_LIMITS = "; 'ulimit -a' shows the limits of this shell"


def fail(message: str, code: int) -> None:
    """Print an error message in one line to stderr, and exit."""
    sys.stderr.write(f"hepbench: {shortened(one_line(message))}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
