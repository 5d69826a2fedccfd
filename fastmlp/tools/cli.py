"""The command line: `fastmlp train` and the other commands with their options.

Choices come from the registries. Invalid input gives one line on standard error and exit code 2.
The commands themselves are in `commands`.
"""

from __future__ import annotations

import argparse
import difflib
import math
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from ..errors import InputError
from ..version import __version__

_EXAMPLES = """\
examples:
  fastmlp train --data table.csv --target price --save model.safetensors
  fastmlp evaluate model.safetensors --data table.csv
  fastmlp predict model.safetensors --data new.csv --output predictions.csv
"""
# Names of our options in other programs.
_SYNONYMS = {
    "--lr": "--learning-rate",
    "--layers": "--hidden",
    "--hidden-layers": "--hidden",
    "--hidden-layer-sizes": "--hidden",
    "--max-iter": "--epochs",
    "--iterations": "--epochs",
    "--random-state": "--seed",
    "--patience": "--early-stopping",
    "--sep": "--separator",
    "--delimiter": "--separator",
    "--label": "--target",
    "--out": "--output",
    "--proba": "--probabilities",
    "--n-threads": "--threads",
    "--jobs": "--threads",
}


class _Number(NamedTuple):
    """The type of an option's value: an int or a float, and the range that it must lie in."""

    kind: type[int] | type[float]
    low: float
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __call__(self, text: str) -> float:
        """Convert a text; argparse only accepts types that can be called."""
        return self.kind(text)

    def checked(self, option: str, text: str, advice: str) -> float:
        """The number that a text stands for, or an error that names the option."""
        from ..inputs import checks

        try:
            value = self(text)
        except ValueError:
            expected = "a whole number" if self.kind is int else "a number"
            raise InputError(option, expected, repr(text), advice) from None
        if self.kind is int:
            return checks.whole_number(option, "it", value, int(self.low), self.high)
        limits = {"low_open": self.low_open, "high_open": self.high_open}
        return checks.number(option, "it", value, self.low, self.high, **limits)


_COUNT, _SEED = _Number(int, 1), _Number(int, 0, 2**32 - 1)
_POSITIVE, _AT_LEAST_0 = _Number(float, 0, low_open=True), _Number(float, 0)
_ROW = _Number(int, 0)
_PART = _Number(float, 0, 1, low_open=True, high_open=True)


class _Parser(argparse.ArgumentParser):
    """Raises errors in the form of all others, and suggests what may be meant."""

    @property
    def _see_help(self) -> str:
        return f"see {self.prog} --help"

    @property
    def _where(self) -> str:
        """The command, or the program's own options."""
        return self.prog.partition(" ")[2] or "options"

    def error(self, message: str) -> NoReturn:
        """What argparse finds by itself: missing arguments, and abbreviations of two options."""
        ambiguous = re.fullmatch("ambiguous option: (.*) could match (.*)", message)
        if ambiguous:
            option, known = ambiguous.groups()
            raise InputError(
                option, f"one of {known}", "an abbreviation of all", "write it in full"
            )
        expected, got = "arguments as in its help", message
        if message.startswith("the following arguments are required: "):
            expected, got = message.partition(": ")[2].replace(", ", " and "), "none"
        raise InputError(self._where, expected, got, self._see_help)

    def _get_value(self, action: argparse.Action, text: str) -> Any:
        """As in argparse; numbers are checked here, where the option's name is known."""
        if isinstance(action.type, _Number):
            return action.type.checked(_name(action), text, self._see_help)
        return super()._get_value(action, text)

    def _match_argument(self, action: argparse.Action, pattern: str) -> int:
        """As in argparse, with an error in our form."""
        try:
            return super()._match_argument(action, pattern)
        except argparse.ArgumentError:
            raise InputError(
                _name(action), "a value after it", "none", f"write {_name(action)}=VALUE"
            ) from None

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As in argparse, with a suggestion."""
        if action.choices is None or value in action.choices:
            return
        names = [str(choice) for choice in action.choices]
        advice = _meant(value, names) or self._see_help
        raise InputError(_name(action), f"one of {', '.join(names)}", repr(value), advice)

    def refuse_unknown(self, arguments: Sequence[str]) -> NoReturn:
        """Report arguments that are not options of this command."""
        known = [name for action in self._actions for name in action.option_strings]
        options = [text.partition("=")[0] for text in arguments if text.startswith("-")]
        unknown = [*options, *arguments][0]
        advice = _meant(unknown, known) or self._see_help
        raise InputError(self._where, f"options of {self.prog}", repr(unknown), advice)


def _name(action: argparse.Action) -> str:
    """What users call an argument."""
    return "/".join(action.option_strings) or str(action.metavar)


def _meant(name: object, known: Sequence[str]) -> str:
    """A question for the name that may be meant, or an empty string."""
    text = str(name).lower()
    if text.startswith("-"):
        text = text.replace("_", "-")
    if _SYNONYMS.get(text) in known:
        return f"did you mean {_SYNONYMS[text]!r}?"
    close = difflib.get_close_matches(text, known, n=1, cutoff=0.7)
    return f"did you mean {close[0]!r}?" if close else ""


def parser() -> _Parser:
    """All commands with their options."""
    top = _Parser(
        prog="fastmlp",
        description="Train and use multi-layer perceptrons.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"fastmlp {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_trace(commands)
    _add_others(commands)
    for command in commands.choices.values():
        command.set_defaults(parser=command)
    return top


def _add_data(command: argparse.ArgumentParser, default: str | None) -> None:
    from ..datasets import DATASETS

    names = ", ".join(DATASETS)
    command.add_argument(
        "--data",
        default=default,
        required=default is None,
        metavar="NAME|FILE",
        help=f"{names}, or a table: CSV, TSV, Parquet or npz" + _default(default),
    )
    command.add_argument("--data-home", metavar="DIR", help="folder with the files of MNIST")
    command.add_argument(
        "--target",
        action="append",
        metavar="COLUMN",
        help="column to predict from a table; for several, repeat the option or separate by commas",
    )
    written = command.add_argument_group("how a CSV or TSV file is written")
    written.add_argument(
        "--separator",
        metavar="CHAR",
        help="between columns (default: as in training, or comma, semicolon, tab or bar, detected "
        "from the file)",
    )
    written.add_argument(
        "--decimal",
        choices=[".", ","],
        metavar="CHAR",
        help=". or , before decimals (default: as in training, or detected from the file)",
    )
    written.add_argument(
        "--thousands", metavar="CHAR", help="between thousands (default: as in training, or none)"
    )


def _add_stream(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--stream",
        action="store_true",
        help="read the table a window at a time, for tables of numbers that are larger than "
        "memory: Parquet, Arrow, CSV or npz, a folder or a pattern; not for recipes",
    )


def _default(value: object) -> str:
    return "" if value is None else f" (default {value})"


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a network and report how good it is",
        epilog="Ctrl-C ends the training after the current epoch, or after two seconds if the "
        "epoch takes longer: the report says (interrupted), the requested files are written and "
        "the exit code is 0. Pressed twice, it ends immediately. Before the end of the first epoch "
        "nothing is written and the exit code is 130.",
    )
    _add_data(train, "digits")
    _add_stream(train)
    train.add_argument(
        "--drop",
        action="append",
        metavar="COLUMN",
        help="leave out a column of a table; for several, repeat the option or separate by commas",
    )
    _add_recipe(train.add_argument_group("recipes for tables"))
    _add_network(train.add_argument_group("networks of your own"))
    fit = train.add_argument_group("training")
    _add_steps(fit)
    _add_rows(fit)
    _add_results(train.add_argument_group("results"))


def _add_recipe(recipe: Any) -> None:
    from ..tabular.recipes import RECIPES
    from .command_options import NO_RECIPE

    recipe.add_argument(
        "--recipe",
        choices=[*RECIPES, NO_RECIPE],
        metavar="NAME",
        help=f"{', '.join(RECIPES)}, or {NO_RECIPE} for a network of your own (default: "
        f"{next(iter(RECIPES))} for a table with named columns, unless --activation, --loss or "
        "--dtype describes a network of your own)",
    )
    recipe.add_argument(
        "--metric",
        metavar="NAME",
        help="what the best epoch is chosen by: error, log_loss, auc or brier for classes; rmse or "
        "mae for numbers; or a scorer of scikit-learn (default: error or rmse). It decides what "
        "whole numbers in the target are; without it, up to 20 different ones are classes",
    )
    recipe.add_argument(
        "--members", type=_COUNT, metavar="N", help="networks to average (default 1)"
    )
    recipe.add_argument(
        "--folds",
        type=_Number(int, 2),
        metavar="N",
        help="train a network for each fold, on all other rows, and average them (default 4, "
        "unless --validation is given)",
    )
    recipe.add_argument(
        "--time-limit", type=_POSITIVE, metavar="SECONDS", help="plan as many epochs as fit into it"
    )


def _add_network(network: Any) -> None:
    from ..nn import ACTIVATIONS, LAYERS
    from ..nn.losses import LOSSES

    network.add_argument(
        "--activation",
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
        type=_Number(float, 0, 1, high_open=True),
        metavar="RATE",
        help="fraction of the hidden units dropped in training (default 0; or the recipe's)",
    )
    network.add_argument(
        "--dtype",
        choices=["float32", "float64"],
        metavar="TYPE",
        help="float32 or float64 (default float32, or float64 if a column needs its digits)",
    )


def _add_steps(fit: Any) -> None:
    from ..optim.optimizers import OPTIMIZERS
    from ..optim.schedules import SCHEDULES

    fit.add_argument(
        "--hidden", metavar="N[,N]", help="hidden units (default 256; or the recipe's)"
    )
    fit.add_argument(
        "--optimizer",
        type=OPTIMIZERS.resolve,
        choices=OPTIMIZERS.names,
        metavar="NAME",
        help=_choices(OPTIMIZERS.names, "adam"),
    )
    fit.add_argument(
        "--learning-rate",
        type=_POSITIVE,
        metavar="RATE",
        help="highest rate (default 0.002; 0.1 for sgd, 0.03 for adagrad; or the recipe's)",
    )
    fit.add_argument(
        "--schedule",
        type=SCHEDULES.resolve,
        choices=SCHEDULES.names,
        metavar="NAME",
        help=_choices(SCHEDULES.names, "linear, down to 0"),
    )
    fit.add_argument("--epochs", type=_COUNT, metavar="N", help="(default 60; or the recipe's)")
    fit.add_argument("--batch-size", type=_COUNT, metavar="N", help="(default 32; a recipe's 256)")
    fit.add_argument(
        "--weight-decay",
        type=_AT_LEAST_0,
        metavar="RATE",
        help="decoupled decay of the weights (default: the optimizer's)",
    )


def _add_rows(fit: Any) -> None:
    """Options for the training rows, the number of epochs and class weights."""
    fit.add_argument(
        "--validation",
        type=_PART,
        metavar="PART",
        help="fraction of the rows kept for validation (default 0.15; a recipe trains in folds)",
    )
    fit.add_argument(
        "--test",
        type=_PART,
        metavar="PART",
        help="fraction of the rows kept for the test (default 0.15, or the data's own test rows)",
    )
    fit.add_argument(
        "--early-stopping",
        type=_COUNT,
        nargs="?",
        const=10,
        metavar="N",
        help="stop after N epochs (10 if N is omitted) without a lower validation loss, and "
        "restore the weights of the best epoch",
    )
    fit.add_argument(
        "--class-weight",
        action="append",
        metavar="LABEL=WEIGHT",
        help="weight of a class's rows in the loss, also of those for validation (others have 1), "
        "or: balanced, for classes of equal weight; for several, repeat the option or separate by "
        "commas",
    )
    fit.add_argument("--threads", type=_COUNT, metavar="N", help="(default: as many as are useful)")
    fit.add_argument(
        "--seed",
        type=_SEED,
        default=0,
        metavar="N",
        help="of split, weights, order and dropout (default 0)",
    )


def _add_results(results: Any) -> None:
    results.add_argument("--save", metavar="FILE.safetensors", help="write the network")
    results.add_argument(
        "--json",
        metavar="FILE",
        help="write figures and history as JSON; - is standard output, where nothing else is then "
        "written",
    )
    results.add_argument("--plot", metavar="FILE.png", help="draw curves, errors and weights")
    results.add_argument(
        "--checkpoint", metavar="DIR", help="save the training there after each epoch"
    )
    results.add_argument(
        "--resume", action="store_true", help="continue from the newest checkpoint, if there is one"
    )
    results.add_argument("--quiet", action="store_true", help="no progress bar")


def _choices(names: Sequence[str], default: str) -> str:
    return f"{', '.join(names)} (default {default})"


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="score a saved network on data")
    evaluate.add_argument("model", metavar="MODEL", help="file that train --save wrote")
    _add_data(evaluate, None)
    evaluate.add_argument(
        "--rows",
        choices=["test", "validation", "training", "all"],
        metavar="PART",
        help="test, validation, training or all, as the rows were split in training (default: test "
        "for the training data, all for other data)",
    )
    evaluate.add_argument(
        "--json", metavar="FILE", help="write the figures as JSON; - is standard output"
    )


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser("predict", help="predict with a saved network, as CSV")
    predict.add_argument("model", metavar="MODEL", help="file that train --save wrote")
    _add_data(predict, None)
    _add_stream(predict)
    predict.add_argument("--probabilities", action="store_true", help="also one column per class")
    predict.add_argument(
        "--output", metavar="FILE.csv", help="write there; - is standard output (default)"
    )


def _add_trace(commands: Any) -> None:
    from ..nn import ACTIVATIONS
    from ..optim.optimizers import OPTIMIZERS

    activations = [a.name for a in ACTIVATIONS]
    trace = commands.add_parser(
        "trace",
        help="follow one row forward, back and through an update",
        epilog="Without --model the row goes through a new network in float64, for which the "
        "columns of a table and numeric targets are standardised. Only the first numbers of each "
        "array are printed; --json writes them all, like network.trace(x, y) in Python.",
    )
    _add_data(trace, "digits")
    trace.add_argument("--row", type=_ROW, default=0, metavar="N", help="from 0 (default 0)")
    trace.add_argument("--model", metavar="MODEL", help="file that train --save wrote")
    trace.add_argument("--hidden", metavar="N[,N]", help="units of a new network (default 16)")
    trace.add_argument(
        "--activation", choices=activations, metavar="NAME", help=_choices(activations, "tanh")
    )
    trace.add_argument("--seed", type=_SEED, metavar="N", help="of its weights (default 0)")
    trace.add_argument(
        "--optimizer",
        default="sgd",
        choices=OPTIMIZERS.names,
        metavar="NAME",
        help=_choices(OPTIMIZERS.names, "sgd"),
    )
    trace.add_argument(
        "--learning-rate", type=_POSITIVE, metavar="RATE", help="(default: the optimizer's)"
    )
    trace.add_argument("--json", metavar="FILE", help="write all arrays as JSON")
    trace.add_argument("--plot", metavar="FILE.png", help="draw activations and deltas")


def _add_others(commands: Any) -> None:
    check = commands.add_parser(
        "check-gradients", help="compare every gradient with the reference and with differences"
    )
    check.add_argument("--seed", type=_SEED, default=0, metavar="N", help="of data and weights")
    reference = commands.add_parser(
        "reference", help="the per-sample algorithm, as published and corrected, on digits"
    )
    reference.add_argument("--epochs", type=_COUNT, default=5, metavar="N", help="(default 5)")
    reference.add_argument("--seed", type=_SEED, default=0, metavar="N", help="(default 0)")
    commands.add_parser("warmup", help="compile everything in advance, so that no fit has to wait")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        code = _run(arguments)
        sys.stdout.flush()  # now, while a closed pipe or a full disk can still be handled
        return code
    except InputError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("fastmlp: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has closed the pipe
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
    top = parser()
    try:
        chosen, unknown = top.parse_known_args(arguments)
    except SystemExit as done:  # help or version was printed
        return int(done.code or 0)
    if unknown:
        command: _Parser = getattr(chosen, "parser", top)
        command.refuse_unknown(unknown)
    if chosen.command is None:
        top.print_help()
        return 0
    from . import commands

    return commands.COMMANDS[chosen.command](chosen)


def _refuse(message: str) -> int:
    """Print one line, even if names contain line breaks; returns the exit code."""
    from . import processes

    processes.refuse(f"fastmlp: {' '.join(message.splitlines())}", 2)
    return 2


def _end_output() -> None:
    """Flush the output; if that fails, keep Python from trying again at exit and complaining."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
