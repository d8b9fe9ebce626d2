"""The command ``hepbench``: a user error is printed in one line and ends with exit code 2."""

from __future__ import annotations

import sys

import click

from hepbench.specs.errors import HepbenchError
from hepbench.specs.text import one_line
from hepbench.storage.durable import DISK_ERRORS


def main() -> None:
    """Run the command line."""
    from hepbench.cli.commands import cli

    try:
        code = cli.main(standalone_mode=False)
    except HepbenchError as error:
        fail(str(error), 2)
    except click.exceptions.Abort:
        interrupted()
    except KeyboardInterrupt:
        interrupted()
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        sys.exit(2)
    except click.ClickException as error:
        fail(error.format_message(), 2)
    except BrokenPipeError:
        # the reader of our output, such as head, has closed the pipe
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        where = "" if error.filename is None else f": {error.filename}"
        fail(f"{error.strerror}{where}", 2)
    sys.exit(code if isinstance(code, int) else 0)


def fail(message: str, code: int) -> None:
    """Print one line to stderr and exit."""
    sys.stderr.write(f"hepbench: {one_line(message)}\n")
    sys.exit(code)


def interrupted() -> None:
    """Print how to resume, and exit with the code for Ctrl-C."""
    fail("interrupted; finished stages are kept, run the same command again to resume", 130)


if __name__ == "__main__":
    main()
