"""The command ``hepbench``: a user error is printed in one line and ends with exit code 2."""

from __future__ import annotations

import errno
import sys

import click

from hepbench.running import interrupts, streams
from hepbench.specs.errors import HepbenchError
from hepbench.specs.text import one_line, shortened

LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
"""Too many open files, no memory, too many processes."""


def main() -> None:
    """Run the command line."""
    interrupts.install()
    try:
        streams.prepare()
        code = _command()
    except interrupts.Interrupted as interrupted:
        fail(interrupted.message, 128 + interrupted.number)
    except HepbenchError as error:
        fail(str(error), 2)
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        sys.exit(2)
    except click.ClickException as error:
        fail(error.format_message(), 2)
    except MemoryError:
        fail("out of memory; 'ulimit -a' shows the limits of this shell", 2)
    except OSError as error:
        if error.errno not in LIMITS:
            raise
        fail(f"{error.strerror}; 'ulimit -a' shows the limits of this shell", 2)
    sys.exit(code if isinstance(code, int) else 0)


def _command() -> object:
    from hepbench.cli.commands import cli

    return cli.main(standalone_mode=False)


def fail(message: str, code: int) -> None:
    """Print one line to stderr and exit."""
    sys.stderr.write(f"hepbench: {shortened(one_line(message))}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
