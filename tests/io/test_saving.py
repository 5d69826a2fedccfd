"""Nothing is saved that cannot be read back: a file restores its network exactly or is not written.

Labels of every type, user-defined parts and settings of every kind are saved over an older file; if
the new one is refused, the older one must be unchanged.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from fastmlp import (
    Checkpoint,
    Columns,
    Dense,
    Dropout,
    GroupedDense,
    Network,
    Quantile,
    ReLU,
    Residual,
)
from fastmlp.errors import FileError, InputError, InputTypeError
from fastmlp.io.comparison import alike, loses_settings, same_labels
from fastmlp.nn import LAYERS, Layer
from fastmlp.nn.initializers import INITIALIZERS, Initializer, Normal
from fastmlp.nn.losses import LOSSES, Loss, SoftmaxCrossEntropy

pytestmark = [pytest.mark.nojit, pytest.mark.thinned(3)]

N = 12
X = np.random.default_rng(0).normal(size=(N, 3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a file that is there already."""
    place = tmp_path / "model.safetensors"
    Network([Dense(3, 2)], random_state=5).save(place)
    return place


def refusal(network: Network, path: Path) -> str:
    """Why a network is not saved; the older file stays, and nothing beside it."""
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        network.save(path)
    assert path.read_bytes() == before
    assert [place.name for place in path.parent.iterdir()] == [path.name]
    Network.load(path)
    return str(caught.value)


# ----------------------------------------------------------------------------------------- labels


def objects(*values: Any) -> np.ndarray:
    made = np.empty(len(values), object)
    made[:] = values
    return made


STRINGS = np.dtypes.StringDType
LABELS: dict[str, np.ndarray] = {
    **{name: np.arange(3).astype(name) for name in ("i1", "u1", "<i2", ">i2", "<i4", ">i4")},
    **{name: np.arange(3).astype(name) for name in ("<u8", ">u8", "f2", ">f2", "f4", "<f8", ">f8")},
    "bool": np.array([False, True]),
    "largest uint64": np.array([0, 2**63, 2**64 - 1], np.uint64),
    "smallest int64": np.array([-(2**63), 0, 2**63 - 1]),
    "text": np.array(["", "null", 'é "犬" \\ \n']),
    "text of the other byte order": np.array(["a", "b", "c"]).astype(">U5"),
    "text with NUL": np.array(["a\0b", "a", "b"]),
    "text with half a pair": np.array(["\ud800", "b", "c"]),
    "StringDType": np.array(["a", "ccc", "é" * 40], STRINGS()),
    "StringDType, None": np.array(["a", "b", "c"], STRINGS(na_object=None)),
    "StringDType, nan": np.array(["a", "b", "c"], STRINGS(na_object=np.nan)),
    "objects of text": objects("a", "b\0", "\udfff"),
    "objects of NumPy's text": objects(np.str_("a"), np.str_("b"), np.str_("c")),
    "objects of whole numbers": objects(-(2**80), 0, 2**80),
    "objects of NumPy's numbers": objects(np.int64(1), np.int64(2), np.float32(0.1)),
    "objects of numbers": objects(True, 1.5, 2),
}
NOT_PLAIN = "labels and settings that are numbers or text, got "
NOT_BACK = "labels that a file gives back as they are, got some of dtype "
REFUSED_LABELS: dict[str, tuple[np.ndarray, str]] = {
    "bytes": (np.array([b"a", b"b", b"c"]), NOT_PLAIN + "bytes"),
    "objects of bytes": (objects(b"a", b"b", b"c"), NOT_PLAIN + "bytes"),
    "void": (np.array([b"a", b"b", b"c"], "V1"), NOT_PLAIN + "bytes"),
    "dates": (np.array(["2024-01-01", "2024-01-02", "2024-02-01"], "M8[D]"), NOT_PLAIN + "date"),
    "times": (np.array([1, 2, 3], "m8[s]"), NOT_PLAIN + "timedelta"),
    "objects of dates": (
        objects(*(datetime.date(2024, 1, day) for day in (1, 2, 3))),
        NOT_PLAIN + "date",
    ),
    "complex": (np.array([1j, 2, 3]), NOT_PLAIN + "complex"),
    "long double": (np.arange(3).astype(np.longdouble), NOT_PLAIN + "longdouble"),
    "structured": (np.array([(1, 2.0), (2, 3.0), (3, 1.0)], "i4,f4"), NOT_BACK + "[('f0', "),
    "tuples": (objects((1, 2), (1, 3), (2, 1)), NOT_BACK + "object"),
    "text with a pair": (np.array(["\ud83d\ude00", "b", "c"]), NOT_BACK + "<U2"),
    "objects with a pair": (objects("\ud83d\ude00", "b", "c"), NOT_BACK + "object"),
    "a number of 5000 digits": (objects(10**5000, 1, 2), NOT_PLAIN + "some that JSON cannot hold"),
    "StringDType, text for missing": (
        np.array(["a", "b", "c"], STRINGS(na_object="none")),
        NOT_BACK,
    ),
}


def trained_on(labels: np.ndarray) -> Network:
    network = Network([Dense(len(labels))])
    network.fit(X, labels[np.arange(N) % len(labels)], epochs=1)
    return network


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_every_type_come_back(name: str, path: Path) -> None:
    saved, y = trained_on(LABELS[name]), LABELS[name][np.arange(N) % len(LABELS[name])]
    saved.save(path)
    loaded = Network.load(path)
    assert loaded.classes_.dtype == saved.classes_.dtype == LABELS[name].dtype
    assert loaded.classes_.tolist() == saved.classes_.tolist()
    assert loaded.predict(X).dtype == saved.predict(X).dtype
    assert loaded.predict(X).tolist() == saved.predict(X).tolist()
    assert loaded.evaluate(X, y) == saved.evaluate(X, y)
    again = path.with_name("again.safetensors")
    loaded.save(again)
    assert Network.load(again).classes_.tolist() == saved.classes_.tolist()


@pytest.mark.parametrize("name", REFUSED_LABELS)
def test_other_labels_are_refused(name: str, path: Path) -> None:
    labels, expected = REFUSED_LABELS[name]
    text = refusal(trained_on(labels), path)
    assert text.startswith(f"Network.save: expected {expected}")
    assert text.endswith("; turn them into numbers or text first")


@pytest.mark.parametrize("missing", [None, np.nan])
def test_missing_labels_of_stringdtype_are_refused_in_fit(missing: Any) -> None:
    y = np.array(["a", "b", missing] * 4, STRINGS(na_object=missing))
    with pytest.raises(
        InputError, match=r"a label for every row of y, got a missing value in row 2; drop"
    ):
        Network([Dense(3)]).fit(X, y)


@pytest.mark.parametrize("seed", range(40))
def test_any_labels_come_back_or_are_refused(seed: int, path: Path) -> None:
    """Random labels of random types: never a file that gives back others."""
    rng = np.random.default_rng(seed)
    kinds: list[Callable[[], Any]] = [
        lambda: rng.integers(-(2**62), 2**62),
        lambda: int(rng.integers(2**62)) * 2 ** int(rng.integers(80)),
        lambda: "".join(map(chr, rng.integers(0, 0x3000, rng.integers(4)))),
        lambda: "".join(map(chr, rng.integers(0xD800, 0xE000, 2))),
        lambda: np.str_(chr(rng.integers(33, 0x10FFFF))),
        lambda: float(rng.integers(99)),
        lambda: np.float32(rng.integers(99)),
    ]
    kind = kinds[seed % len(kinds)]
    found = {str(value): value for value in (kind() for _ in range(5))}
    labels = objects(*found.values())
    if seed % 2:
        labels = np.array(labels.tolist())
    if len(labels) < 2:
        return
    saved = trained_on(labels)
    try:
        saved.save(path)
    except InputTypeError:
        assert "got some of dtype" in refusal(saved, path)
        return
    loaded = Network.load(path)
    assert loaded.classes_.dtype == saved.classes_.dtype
    assert loaded.classes_.tolist() == saved.classes_.tolist()
    assert loaded.predict(X).tolist() == saved.predict(X).tolist()


# ----------------------------------------------------------------------------- user-defined parts


class Pass(Layer):
    """A layer without settings."""

    name = "pass"

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        return X

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return dY


class Needy(Pass):
    """Settings in a constructor, of which a file has no word."""

    name = "needy"

    def __init__(self, factor: float) -> None:
        self.factor = factor


class Forgetful(Pass):
    """The same with a default, so that it would come back as another layer without a word."""

    name = "forgetful"

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor


class Telling(Forgetful):
    """The same again, which says itself what goes into a file."""

    name = "telling"

    def specification(self) -> dict[str, Any]:
        return {"name": self.name, "factor": self.factor}


class Disguised(ReLU):
    """Would come back as ReLU, as whose name it has."""


@dataclasses.dataclass
class Setting(Pass):
    name: ClassVar[str] = "setting"
    value: Any = None


@dataclasses.dataclass
class Point:
    x: float = 0.0


@dataclasses.dataclass
class Numeral(Pass):
    """One number, without dimensions."""

    name: ClassVar[str] = "numeral"

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"s": (), "nothing": (0,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.parameters["s"][...] = rng.uniform(1, 2)


class Absolute(Loss):
    name = "absolute"

    def value_and_gradient(
        self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray
    ) -> tuple[float, np.ndarray]:
        return float(np.abs(outputs - targets).mean()), np.sign(outputs - targets) / outputs.size


class Nameless(Absolute):
    name = SoftmaxCrossEntropy.name


@dataclasses.dataclass(frozen=True)
class Weighted(Absolute):
    name: ClassVar[str] = "weighted"
    value: Any = None


@dataclasses.dataclass(frozen=True)
class Steady(Initializer):
    name: ClassVar[str] = "steady"
    value: float = 0.5

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return np.full((n_in, n_out), self.value)


class Ones(Initializer):
    name = "ones"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return np.ones((n_in, n_out))


class Unnamed(Initializer):
    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return np.ones((n_in, n_out))


PLAIN = [
    None, True, 3, -2.5, float("inf"), float("nan"), "", "é\0", [1, [2]], (1, (2,)),
    {"a": {"b": 1}}, np.float32(0.1), np.int8(3), np.True_, np.str_("a"), [np.float16(0.5)],
    {"a": np.uint8(1)},
]  # fmt: skip


@pytest.mark.parametrize("make", [Setting, Weighted])
@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_settings_come_back(value: Any, make: Any, path: Path) -> None:
    part = make(value)
    layers: list[Layer] = [Dense(3, 2)]
    network = (
        Network([*layers, part]) if isinstance(part, Layer) else Network(layers, part)
    ).build(3)
    network.save(path)
    loaded = Network.load(path, [make])
    again = loaded.layers[-1] if isinstance(part, Layer) else loaded.loss
    assert type(again) is make
    assert json.dumps(again.value) == json.dumps(value, default=lambda number: number.item())


NOT_AS_THEY_ARE = [
    lambda: 0, np.sin, len, int, {1: 2}, {1, 2}, b"a", 1j, np.longdouble(1), np.ones(2), object(),
    Point(1.0), datetime.date(2024, 1, 1), np.datetime64("2024-01-01"), "\ud83d\ude00", {(1, 2): 3},
]  # fmt: skip


@pytest.mark.parametrize("make", [Setting, Weighted])
@pytest.mark.parametrize("value", NOT_AS_THEY_ARE, ids=lambda value: type(value).__name__)
def test_other_settings_are_refused(value: Any, make: Any, path: Path) -> None:
    part = make(value)
    parts = ([part], "huber") if isinstance(part, Layer) else ([], part)
    text = refusal(Network([Dense(3, 2), *parts[0]], parts[1]).build(3), path)
    kind = "layers" if isinstance(part, Layer) else "a loss"
    assert text.startswith((
        f"Network.save: expected {NOT_PLAIN}", f"Network.save: expected {kind} that a file can"
    ))  # fmt: skip


def test_a_setting_that_holds_itself_is_refused(path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    text = refusal(Network([Dense(3, 2), Setting(endless)]), path)
    assert "numbers or text, got some that JSON cannot hold; turn them" in text


OWN: dict[str, tuple[Callable[[], Network], list[type]]] = {
    "a layer without settings": (lambda: Network([Dense(3, 2), Pass()]), [Pass]),
    "a layer with a setting as it is by default": (
        lambda: Network([Dense(3, 2), Forgetful()]), [Forgetful],
    ),
    "a layer that tells its settings": (lambda: Network([Dense(3, 2), Telling(2.5)]), [Telling]),
    "a number without dimensions": (lambda: Network([Dense(3, 2), Numeral()]), [Numeral]),
    "a loss": (lambda: Network([Dense(3, 2)], Absolute()), [Absolute]),
    "an initializer with settings": (
        lambda: Network([Dense(3, 2, initializer=Steady(0.25))]), [Steady],
    ),
    "an initializer without": (
        lambda: Network([Dense(3, 2, initializer=Ones(), bias_initializer=Ones())]), [Ones],
    ),
    "an initializer of a grouped layer": (
        lambda: Network([GroupedDense(2, initializer=Steady(0.5)), Dense(1)]), [Steady],
    ),
    "an initializer within a layer of layers": (
        lambda: Network([Residual([Dense(3, initializer=Ones())]), Dense(1)]), [Ones],
    ),
    "a layer within a branch": (lambda: Network([Columns(([0], [Pass()])), Dense(1)]), [Pass]),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_parts_of_ones_own_come_back(name: str, path: Path) -> None:
    make, custom = OWN[name]
    saved = make().build(3)
    saved.save(path)
    loaded = Network.load(path, custom)
    assert loaded.params.tobytes() == saved.params.tobytes()
    assert repr(loaded) == repr(saved)
    assert vars(loaded.layers[-1]).get("factor") == vars(saved.layers[-1]).get("factor")
    for key in ("initializer", "bias_initializer"):
        pair = [getattr(net.leaves()[0][1], key, None) for net in (saved, loaded)]
        assert type(pair[0]) is type(pair[1])
    with pytest.raises(FileError, match=r"that fastmlp knows, got '\w+'; pass its class in custom"):
        Network.load(path)


REFUSED: dict[str, tuple[Callable[[], Network], str]] = {
    "a layer that needs a setting": (lambda: Network([Dense(3, 2), Needy(2.0)]), "Needy"),
    "a layer that forgets one": (lambda: Network([Dense(3, 2), Forgetful(2.0)]), "Forgetful"),
    "a layer by the name of another": (lambda: Network([Dense(3, 2), Disguised()]), "Disguised"),
    "two layers of one name": (
        lambda: Network([Dense(3, 2), Pass(), type("Other", (Pass,), {})()]), "Pass",
    ),
    "a loss by the name of another": (lambda: Network([Dense(3, 2)], Nameless()), "Nameless"),
    "an initializer by the name of another": (
        lambda: Network([Dense(3, 2, initializer=type("Mine", (Normal,), {})())]), "Mine",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_parts_that_would_come_back_as_others_are_refused(name: str, path: Path) -> None:
    make, shown = REFUSED[name]
    assert refusal(make().build(3), path).endswith(
        f" that a file can give back, got the class {shown}; "
        "give it a name of its own and make it a dataclass of numbers and text"
    )


def test_an_initializer_without_a_name_is_refused(path: Path) -> None:
    text = refusal(Network([Dense(3, 2, initializer=Unnamed())]), path)
    assert (
        text == f"Network.save: expected {NOT_PLAIN}Unnamed; turn them into numbers or text first"
    )


# -------------------------------------------------------------------------------- everything else


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_parameters_that_are_not_finite_are_refused(value: float, path: Path) -> None:
    network = Network([Dense(3, 2)])
    network.layers[0].b[1] = value  # type: ignore[attr-defined]
    got = "nan" if np.isnan(value) else "an infinity"
    assert refusal(network, path).startswith(
        f"Network.save: expected finite parameters, got {got} in '0.b'; train again with"
    )


@pytest.mark.parametrize("names", [
    ("a", "b", "c"), ("", " ", "\0"), ("é\n", '"\\', "犬"), ("\ud800", "\udfff", "a" * 9999),
    (np.str_("a"), np.str_("b"), np.str_("c")),
])  # fmt: skip
def test_names_of_every_kind_come_back(names: tuple[str, ...], path: Path) -> None:
    network = Network([Dense(3, 2)])
    network.feature_names = names
    network.save(path)
    assert Network.load(path).feature_names == names


def test_names_that_would_come_back_as_others_are_refused(path: Path) -> None:
    network = Network([Dense(3, 2)])
    network.feature_names = ("\ud83d\ude00", "b", "c")
    assert refusal(network, path) == (
        "Network.save: expected feature_names that are text a file can hold, got others; "
        "rename those columns"
    )


def test_numbers_of_the_network_come_back(path: Path) -> None:
    network = Network(
        [Dense(3, np.int64(4), max_norm=np.float32(2)), Dropout(np.float16(0.5)), Dense(4, 2)],
        Quantile(np.array([0.25, 0.75], np.float32)), random_state=np.int32(7),
    )  # fmt: skip
    network.l1, network.l2 = np.float32(0.1), np.int8(1)
    network.save(path)
    loaded = Network.load(path)
    assert (loaded.l1, loaded.l2, loaded.seed) == (np.float32(0.1), 1, 7)


def test_a_file_that_reads_otherwise_never_replaces_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import save_file

    network = Network([Dense(3, 2)])
    for change in (
        {"tensors": lambda t: t | {"0.W": t["0.W"].T.copy()}},
        {"tensors": lambda t: {"0.W": t["0.W"]}},
        {"tensors": lambda t: {key: values.astype("f8") for key, values in t.items()}},
        {"metadata": lambda m: {"fastmlp": m["fastmlp"] + " "}},
        {"metadata": lambda m: None},
    ):

        def other(tensors: Any, place: Path, metadata: Any, change: Any = change) -> None:
            given = {"tensors": tensors, "metadata": metadata}
            changed = {key: change.get(key, lambda v: v)(value) for key, value in given.items()}
            save_file(changed["tensors"], place, metadata=changed["metadata"])

        monkeypatch.setattr("safetensors.numpy.save_file", other)
        assert refusal(network, path) == (
            "Network.save: expected a file that reads as it was written, got other content; "
            "check the disk, and shorten labels and names if they are very many or long"
        )
    monkeypatch.setattr(
        "safetensors.numpy.save_file", lambda tensors, place, metadata: place.write_bytes(b"{")
    )
    assert "expected a file that reads as it was written, got " in refusal(network, path)


def test_a_checkpoint_refuses_before_the_first_epoch(tmp_path: Path) -> None:
    """Rather than after it, when its work would be lost."""
    epochs: list[int] = []
    network = Network([Dense(3)])
    with pytest.raises(InputTypeError, match=r"^Checkpoint\(.*got date; turn them into numbers"):
        network.fit(
            X, REFUSED_LABELS["dates"][0][np.arange(N) % 3], epochs=2,
            callbacks=[Checkpoint(tmp_path), lambda _, history: epochs.append(history.epochs)],
        )  # fmt: skip
    assert epochs == []
    labels = LABELS["StringDType"][np.arange(N) % 3]
    kept = Network([Dense(3)])
    kept.fit(X, labels, epochs=2, callbacks=[Checkpoint(tmp_path)])
    again = Network([Dense(3)])
    again.fit(X, labels, epochs=2, callbacks=[Checkpoint(tmp_path, resume=True)])
    assert again.params.tobytes() == kept.params.tobytes()
    loaded = Network.load(tmp_path / "epoch-000002.safetensors")
    assert loaded.predict(X).tolist() == kept.predict(X).tolist()


@pytest.mark.parametrize(
    "name", ["é 犬.safetensors", "a.b.safetensors", " .SAFETENSORS", "-.safetensors"]
)
def test_file_names_of_every_kind(name: str, tmp_path: Path) -> None:
    network = Network([Dense(3, 2)])
    network.save(tmp_path / name)
    assert Network.load(tmp_path / name).params.tobytes() == network.params.tobytes()


def test_values_are_compared_as_files_hold_them() -> None:
    same = [
        ((1, 2), [1, 2]), (np.float32(0.5), 0.5), (1, 1.0), (np.nan, np.nan), (np.True_, True),
        ({"a": (1,)}, {"a": [1]}), (None, None), (np.str_("a"), "a"), (Point(1), Point(1.0)),
    ]  # fmt: skip
    other = [
        ([1, 2], [1]), (1, True), (True, 1), (1, "1"), ("1", 1), (None, 0), (Point(1), Point(2)),
        (Point(1), {"x": 1}), ({"a": 1}, {"b": 1}), ([1], {0: 1}), ({"a": 1}, [("a", 1)]),
        (np.nan, 1.0),
    ]  # fmt: skip
    assert [pair for pair in same if not alike(*pair)] == []
    assert [pair for pair in other if alike(*pair)] == []
    assert loses_settings(Forgetful(2.0), Forgetful(), {"name": "forgetful"})
    assert not loses_settings(Forgetful(1.0), Forgetful(), {"name": "forgetful"})
    assert not loses_settings(Telling(2.0), Telling(2.0), Telling(2.0).specification())
    assert not same_labels(np.arange(3), np.arange(4))
    assert not same_labels(np.arange(3), None)
    assert same_labels(None, None)


@pytest.mark.nojit
def test_reading_files_leaves_the_classes_as_they_are(tmp_path: Path) -> None:
    """Many files can be read: the tables that names are looked up in are made for each of them."""
    constructors = [cls.__init__ for cls in (*LAYERS, *LOSSES, *INITIALIZERS)]
    network = Network([Dense(3, 2)])
    network.save(tmp_path / "net.safetensors")
    for _ in range(3):
        Network.load(tmp_path / "net.safetensors")
    assert [cls.__init__ for cls in (*LAYERS, *LOSSES, *INITIALIZERS)] == constructors
