"""The command line: `fastmlp train` and its siblings, as one table of commands and options.

Choices come from the registries. Whatever is wrong with the input ends in one line on standard
error and exit code 2; what the commands do is in `commands`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from . import __version__
from .errors import InputError


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(_refuse(f"{message}; see {self.prog} --help", self.prog))


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    top = _Parser(prog="fastmlp", description="Train and use multi-layer perceptrons.")
    top.add_argument("--version", action="version", version=f"fastmlp {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_others(commands)
    return top


def _add_data(command: argparse.ArgumentParser, default: str | None) -> None:
    from .datasets import DATASETS

    names = ", ".join(DATASETS)
    command.add_argument(
        "--data",
        default=default,
        required=default is None,
        metavar="NAME|FILE",
        help=f"{names}, or a table: CSV, TSV, Parquet or npz" + _default(default),
    )
    command.add_argument("--data-home", metavar="DIR", help="folder with the files of MNIST")
    command.add_argument("--target", metavar="COLUMN[,COLUMN]", help="what to predict from a table")


def _default(value: object) -> str:
    return "" if value is None else f" (default {value})"


def _add_train(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    from .layers import ACTIVATIONS, LAYERS
    from .losses import LOSSES
    from .optimizers import OPTIMIZERS
    from .schedules import SCHEDULES

    train = commands.add_parser(
        "train",
        help="train a network and report how good it is",
        epilog="Ctrl-C ends the training after the epoch: the report says (interrupted), the files "
        "that were asked for are written and the exit code is 0. Pressed twice, it ends at once; "
        "before the end of the first epoch nothing is written then and the exit code is 130.",
    )
    _add_data(train, "digits")
    network = train.add_argument_group("network")
    network.add_argument(
        "--hidden", default="256", metavar="N[,N]", help="hidden units (default 256)"
    )
    network.add_argument(
        "--activation",
        default="relu",
        type=LAYERS.resolve,
        choices=[a.name for a in ACTIVATIONS],
        metavar="NAME",
        help=_choices([a.name for a in ACTIVATIONS], "relu"),
    )
    network.add_argument(
        "--loss",
        type=LOSSES.resolve,
        choices=LOSSES.names,
        metavar="NAME",
        help=_choices(LOSSES.names, "by the target"),
    )
    network.add_argument(
        "--dropout",
        type=float,
        default=0.0,
        metavar="RATE",
        help="part of the hidden units dropped in training (default 0)",
    )
    network.add_argument(
        "--dtype",
        default="float32",
        choices=["float32", "float64"],
        metavar="TYPE",
        help="float32 or float64 (default float32)",
    )
    fit = train.add_argument_group("training")
    fit.add_argument(
        "--optimizer",
        default="adam",
        type=OPTIMIZERS.resolve,
        choices=OPTIMIZERS.names,
        metavar="NAME",
        help=_choices(OPTIMIZERS.names, "adam"),
    )
    fit.add_argument(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help="highest rate (default 0.002; 0.1 for sgd, 0.03 for adagrad)",
    )
    fit.add_argument(
        "--schedule",
        default="linear",
        type=SCHEDULES.resolve,
        choices=SCHEDULES.names,
        metavar="NAME",
        help=_choices(SCHEDULES.names, "linear, down to 0"),
    )
    fit.add_argument("--epochs", type=int, default=60, metavar="N", help="(default 60)")
    fit.add_argument("--batch-size", type=int, default=32, metavar="N", help="(default 32)")
    fit.add_argument(
        "--weight-decay",
        type=float,
        metavar="RATE",
        help="decoupled decay of the weights (default: the optimizer's)",
    )
    fit.add_argument(
        "--validation",
        type=float,
        default=0.15,
        metavar="PART",
        help="part of the rows kept for validation (default 0.15)",
    )
    fit.add_argument("--threads", type=int, metavar="N", help="(default: as many as pay)")
    fit.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of split, weights, order and dropout (default 0)",
    )
    results = train.add_argument_group("results")
    results.add_argument("--save", metavar="FILE.safetensors", help="write the network")
    results.add_argument("--json", metavar="FILE", help="write figures and history as JSON")
    results.add_argument("--plot", metavar="FILE.png", help="draw curves, errors and weights")
    results.add_argument(
        "--checkpoint", metavar="DIR", help="save the training there after each epoch"
    )
    results.add_argument(
        "--resume", action="store_true", help="go on from the newest checkpoint, if there is one"
    )
    results.add_argument("--quiet", action="store_true", help="no progress bar")


def _choices(names: Sequence[str], default: str) -> str:
    return f"{', '.join(names)} (default {default})"


def _add_evaluate(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    evaluate = commands.add_parser("evaluate", help="score a saved network on data")
    evaluate.add_argument("model", metavar="MODEL", help="file that train --save wrote")
    _add_data(evaluate, None)
    evaluate.add_argument("--json", metavar="FILE", help="write the figures as JSON")


def _add_predict(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    predict = commands.add_parser("predict", help="predict with a saved network, as CSV")
    predict.add_argument("model", metavar="MODEL", help="file that train --save wrote")
    _add_data(predict, None)
    predict.add_argument("--probabilities", action="store_true", help="also one column a class")
    predict.add_argument("--output", metavar="FILE.csv", help="write there, not to the terminal")


def _add_others(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    check = commands.add_parser(
        "check-gradients", help="compare every gradient with the reference and with differences"
    )
    check.add_argument("--seed", type=int, default=0, metavar="N", help="of data and weights")
    reference = commands.add_parser(
        "reference", help="the per-sample algorithm, as published and corrected, on digits"
    )
    reference.add_argument("--epochs", type=int, default=5, metavar="N", help="(default 5)")
    reference.add_argument("--seed", type=int, default=0, metavar="N", help="(default 0)")
    commands.add_parser("warmup", help="compile everything now, so that no fit has to wait")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        code = _run(arguments)
        sys.stdout.flush()  # now, while a closed pipe or a full disk can still be answered
        return code
    except InputError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("fastmlp: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        _end_output()
        return 141
    except OSError as error:
        _end_output()
        return _refuse(str(error))
    except MemoryError as error:
        return _refuse(f"not enough memory ({error}); use a smaller network or less data")
    except UnicodeEncodeError as error:
        return _refuse(f"the output has characters beyond {error.encoding}; set PYTHONUTF8=1")


def _run(arguments: Sequence[str] | None) -> int:
    try:
        chosen = parser().parse_args(arguments)
    except SystemExit as done:  # help and version are printed, or the options were refused
        return int(done.code or 0)
    from . import commands

    return commands.COMMANDS[chosen.command](chosen)


def _refuse(message: str, program: str = "fastmlp") -> int:
    """Print one line, whatever a file's or column's name may hold; returns the exit code."""
    print(f"{program}: {' '.join(message.splitlines())}", file=sys.stderr)
    return 2


def _end_output() -> None:
    """Write what is left, or keep Python from trying that at exit, and from a complaint there."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
