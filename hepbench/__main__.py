"""The command ``hepbench``: errors that a user can mend are one line and exit 2."""

from __future__ import annotations

import sys

import click

from hepbench.specs.errors import HepbenchError


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
        # whoever read our output, such as head, has seen enough
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


def fail(message: str, code: int) -> None:
    """Print one line on stderr and exit."""
    sys.stderr.write(f"hepbench: {' '.join(message.split())}\n")
    sys.exit(code)


def interrupted() -> None:
    """Say that nothing is lost, and exit as shells expect after Ctrl-C."""
    fail("interrupted; what is finished is kept, run the same command again to resume", 130)


if __name__ == "__main__":
    main()
