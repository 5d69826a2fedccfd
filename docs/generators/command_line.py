"""The command line's page: what `--help` of each command says."""

from __future__ import annotations

import argparse
import os
from unittest import mock

from fastmlp.tools import cli

COLUMNS = "84"  # as wide as a page of the site is


def page() -> str:
    """The page, in Markdown."""
    top = cli.parser()
    (commands,) = (a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    parts = [
        "# Command line",
        "After `pip install`, `fastmlp` is a command; `python -m fastmlp` is the same.",
        _help(top),
    ]
    for choice in commands._choices_actions:
        sentence = f"{(choice.help or '')[:1].upper()}{(choice.help or '')[1:]}."
        parts += [f"## fastmlp {choice.dest}", sentence, _help(commands.choices[choice.dest])]
    return "\n\n".join(parts) + "\n"


def _help(parser: argparse.ArgumentParser) -> str:
    with mock.patch.dict(os.environ, COLUMNS=COLUMNS):
        return f"```text\n{parser.format_help().rstrip()}\n```"
