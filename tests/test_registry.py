"""Names and arguments as people type them: understood, or refused with a suggestion."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import fastmlp
from fastmlp import (
    SGD,
    Adam,
    Checkpoint,
    Dense,
    Dropout,
    Huber,
    LeakyReLU,
    MLPClassifier,
    MLPRegressor,
    Network,
    ReLU,
)
from fastmlp.errors import InputError, InputTypeError
from fastmlp.nn import LAYERS
from fastmlp.nn.initializers import INITIALIZERS, Normal
from fastmlp.nn.losses import LOSSES
from fastmlp.optim import schedules
from fastmlp.optim.optimizers import OPTIMIZERS
from fastmlp.optim.schedules import SCHEDULES
from fastmlp.registry import checked_keywords
from fastmlp.tools import cli

pytestmark = pytest.mark.nojit

REGISTRIES: list[Any] = [LAYERS, LOSSES, OPTIMIZERS, SCHEDULES, INITIALIZERS]
IDS = [registry.kind for registry in REGISTRIES]


@pytest.mark.parametrize(
    ("registry", "typed", "meant"),
    [
        (LOSSES, "mse", "mean_squared_error"),
        (LOSSES, "mae", "mean_absolute_error"),
        (LOSSES, "MSELoss", "mean_squared_error"),
        (LOSSES, "crossentropy", "softmax_cross_entropy"),
        (LOSSES, "cross_entropy", "softmax_cross_entropy"),
        (LOSSES, "CrossEntropyLoss", "softmax_cross_entropy"),
        (LOSSES, "log_loss", "softmax_cross_entropy"),
        (LOSSES, "binary_crossentropy", "binary_cross_entropy"),
        (LOSSES, "huber_loss", "huber"),
        (LOSSES, "pinball_loss", "quantile"),
        (LAYERS, "swish", "silu"),
        (LAYERS, "logistic", "sigmoid"),
        (LAYERS, "leakyrelu", "leaky_relu"),
        (LAYERS, "Leaky-ReLU", "leaky_relu"),
        (LAYERS, "linear", "identity"),
        (OPTIMIZERS, "Adam", "adam"),
        (OPTIMIZERS, "rms_prop", "rmsprop"),
        (OPTIMIZERS, "AdamW", "adamw"),
        (SCHEDULES, "OneCycleLR", "one_cycle"),
        (SCHEDULES, "warmup", "warm_up"),
        (SCHEDULES, "cosine_annealing", "cosine"),
        (INITIALIZERS, "xavier_uniform", "glorot_uniform"),
        (INITIALIZERS, "kaiming_normal", "he_normal"),
        (INITIALIZERS, "HeUniform", "he_uniform"),
    ],
)
def test_names_of_other_libraries_are_understood(registry: Any, typed: str, meant: str) -> None:
    assert registry.resolve(typed) == meant
    assert type(registry.make(typed, object)) is registry[meant]


@pytest.mark.parametrize("registry", REGISTRIES, ids=IDS)
def test_every_other_name_stands_for_a_registered_one_and_hides_none(registry: Any) -> None:
    assert set(registry.other_names.values()) <= set(registry.names)
    keys = [registry._key(name) for name in [*registry.other_names, *registry.names]]
    assert "" not in keys
    assert len(set(keys)) == len(keys)
    for name in registry.names:
        assert registry.resolve(name) == registry.resolve(name.upper()) == name


@pytest.mark.parametrize("registry", REGISTRIES, ids=IDS)
def test_a_name_with_a_slip_is_answered_with_the_one_that_is_meant(registry: Any) -> None:
    for name in registry.names:
        typed = name[:-2] + name[-1] + name[-2] + "e" if len(name) > 5 else name + "e"
        with pytest.raises(InputError, match=r"; did you mean '\w+'\?$"):
            registry[typed]
    with pytest.raises(InputError, match="; check the spelling"):
        registry["unheard"]


def test_other_names_work_wherever_names_do(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(20, 2))
    net = Network([Dense(3, initializer="xavier"), ReLU(), Dense(1)], "mse")
    assert net.loss.name == "mean_squared_error"
    net.fit(X, X[:, 0], optimizer="RMSProp", epochs=1)
    assert isinstance(SGD("cosine_annealing").schedule, schedules.Cosine)
    net.save(tmp_path / "net.safetensors")
    assert Network.load(tmp_path / "net.safetensors").loss == net.loss
    options = {"max_iter": 2, "random_state": 0, "tol": 0.0}
    with pytest.warns(match="converge"):
        ours = MLPClassifier((3,), activation="swish", **options).fit(X, X[:, 0] > 0)
    with pytest.warns(match="converge"):
        theirs = MLPClassifier((3,), activation="silu", **options).fit(X, X[:, 0] > 0)
    assert ours.loss_curve_ == theirs.loss_curve_
    for typed, meant in (("mse", "squared_error"), ("mae", "absolute_error")):
        options["hidden_layer_sizes"] = (3,)
        models = [MLPRegressor(loss=name, **options) for name in (typed, meant)]
        for model in models:
            with pytest.warns(match="converge"):
                model.fit(X, X[:, 0])
        assert models[0].loss_curve_ == models[1].loss_curve_


def test_the_command_line_understands_other_names() -> None:
    words = [
        "--loss",
        "mse",
        "--activation",
        "swish",
        "--optimizer",
        "Adam",
        "--schedule",
        "warmup",
    ]
    options = cli.parser().parse_args(["train", *words])
    found = (options.loss, options.activation, options.optimizer, options.schedule)
    assert found == ("mean_squared_error", "silu", "adam", "warm_up")
    with pytest.raises(InputError, match="--loss: expected one of softmax_cross_entropy, "):
        cli.parser().parse_args(["train", "--loss", "unheard"])


CALLS: dict[str, tuple[Any, str, str]] = {
    "Adam(lr)": (lambda: Adam(lr=0.1), "Adam", "lr; did you mean learning_rate?"),
    "SGD(learning_rate_init)": (
        lambda: SGD(learning_rate_init=0.1),
        "SGD",
        "learning_rate_init; did you mean learning_rate?",
    ),
    "Adam(eps)": (lambda: Adam(eps=1e-7), "Adam", "eps; did you mean epsilon?"),
    "Adam(beta_1)": (lambda: Adam(beta_1=0.8), "Adam", "beta_1; did you mean beta1?"),
    "Adam(wieght_decay)": (
        lambda: Adam(wieght_decay=0.1),
        "Adam",
        "wieght_decay; did you mean weight_decay?",
    ),
    "Dense(units)": (lambda: Dense(units=3), "Dense", "units; did you mean n_out?"),
    "Dense(3, kernel_initializer)": (
        lambda: Dense(3, kernel_initializer="he"),
        "Dense",
        "kernel_initializer; did you mean initializer?",
    ),
    "Dropout(p)": (lambda: Dropout(p=0.5), "Dropout", "p; did you mean rate?"),
    "LeakyReLU(alpha)": (
        lambda: LeakyReLU(alpha=0.2),
        "LeakyReLU",
        "alpha; did you mean negative_slope?",
    ),
    "ReLU(inplace)": (lambda: ReLU(inplace=True), "ReLU", "inplace; it has none"),
    "Huber(beta)": (lambda: Huber(beta=1.0), "Huber", "beta; it has delta"),
    "Linear(lr)": (lambda: schedules.Linear(lr=0.1), "Linear", "lr; did you mean start?"),
    "OneCycle(max_lr)": (
        lambda: schedules.OneCycle(max_lr=0.1),
        "OneCycle",
        "max_lr; it has peak, rise",
    ),
    "Normal(sigma)": (lambda: Normal(sigma=0.1), "Normal", "sigma; did you mean scale?"),
    "FromFunction(func)": (
        lambda: schedules.FromFunction(func=len),
        "FromFunction",
        "func; it has function",
    ),
    "Checkpoint(resum)": (
        lambda: Checkpoint("folder", resum=True),
        "Checkpoint",
        "resum; did you mean resume?",
    ),
    "Network(seed)": (
        lambda: Network([Dense(2)], seed=1),
        "Network",
        "seed; did you mean random_state?",
    ),
    "Network.fit(n_epochs)": (
        lambda: Network([Dense(2)]).fit([[0.0], [1.0]], [0, 1], n_epochs=3),
        "Network.fit",
        "n_epochs; did you mean epochs?",
    ),
    "MLPClassifier(lr)": (
        lambda: MLPClassifier(lr=0.1),
        "MLPClassifier",
        "lr; did you mean learning_rate_init?",
    ),
    "MLPRegressor(epochs)": (
        lambda: MLPRegressor(epochs=3),
        "MLPRegressor",
        "epochs; did you mean max_iter?",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_unknown_argument_is_answered_with_the_one_that_is_meant(name: str) -> None:
    call, where, rest = CALLS[name]
    with pytest.raises(InputTypeError) as caught:
        call()
    assert str(caught.value) == f"{where}: expected only arguments that it has, got {rest}"
    assert isinstance(caught.value, TypeError)


CLASSES = [
    *itertools.chain.from_iterable(REGISTRIES),
    *(
        getattr(fastmlp, name)
        for name in ("Network", "Checkpoint", "MLPClassifier", "MLPRegressor")
    ),
    schedules.FromFunction,
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_public_class_knows_its_arguments_and_keeps_its_signature(cls: type) -> None:
    with pytest.raises(InputTypeError, match="expected only arguments that it has, got nonsense;"):
        cls(nonsense=1)
    parameters = inspect.signature(cls).parameters
    assert "self" not in parameters
    assert not {"args", "kwargs"} & set(parameters)
    if dataclasses.is_dataclass(cls):
        assert set(parameters) == {f.name for f in dataclasses.fields(cls) if f.init}


def test_no_registered_class_lacks_the_check_by_inheriting_its_constructor() -> None:
    """A class without a constructor of its own has that of a base, which may not be registered."""
    assert [cls for cls in CLASSES if not hasattr(cls.__init__, "__wrapped__")] == []


def test_objects_are_copied_pickled_and_compared_as_before() -> None:
    for made in (Adam(0.1, beta1=0.8), Huber(2.0), schedules.Linear(0.1), Normal(0.2)):
        assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made
        assert dataclasses.replace(made) == made
    model = MLPClassifier((3,), alpha=0.1)
    assert clone(model).get_params() == model.get_params()


def test_errors_inside_a_constructor_stay_what_they_are() -> None:
    @checked_keywords
    class Made:
        def __init__(self, size: int) -> None:
            len(size)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="has no len"):
        Made(size=3)
    with pytest.raises(TypeError, match="missing 1 required"):
        Made()  # type: ignore[call-arg]
