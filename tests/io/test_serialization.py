"""Model files: what is read back is what was saved, to the last bit, for every registered part.
Whatever is wrong with a file ends in one FileError, and saving never spoils what was there.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fastmlp import Network
from fastmlp.engine import lowering
from fastmlp.errors import FileError, InputError, InputTypeError
from fastmlp.io import files, serialization
from fastmlp.nn import LAYERS, Activation, Dense, Dropout, Layer, LeakyReLU, ReLU, Tanh, leaves
from fastmlp.nn.initializers import INITIALIZERS
from fastmlp.nn.losses import LOSSES, Loss, Quantile, SoftmaxCrossEntropy
from fastmlp.optim.optimizers import Adam
from fastmlp.tools.gradient_check import N_CATEGORIES, _activation_options, example_of

from ..support import samples, sealed

N, N_FEATURES = 12, 4
LABELS = np.arange(N) % 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture
def X(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(N, N_FEATURES))


@pytest.fixture
def network(X: np.ndarray) -> Network:
    """Fitted on labels, with something in every field of the header."""
    made = Network(
        [Dropout(0.1), Dense(2, max_norm=3.0), LeakyReLU(0.2), Dense(3)],
        SoftmaxCrossEntropy(0.1),
        random_state=8,
        l1=0.001,
        l2=0.01,
    )
    made.fit(X, LABELS, epochs=1)
    made.feature_names = ("a", "b", "c", "d")
    return made


def message(call: Callable[[], Any], kind: type[Exception] = FileError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    return str(caught.value)


def assert_same(one: Network, other: Network, X: np.ndarray) -> None:
    assert one.params.tobytes() == other.params.tobytes()
    assert (one.dtype, one.seed, one.l1, one.l2) == (other.dtype, other.seed, other.l1, other.l2)
    assert one.groups == other.groups
    assert [layer.specification() for layer in one.layers] == [
        layer.specification() for layer in other.layers
    ]
    assert one.feature_names == other.feature_names
    assert (one.n_features, one.n_outputs) == (other.n_features, other.n_outputs)
    assert one.outputs(X).tobytes() == other.outputs(X).tobytes()


def target_for(loss: Loss) -> np.ndarray:
    rng = np.random.default_rng(0)
    if loss.task == "classes":
        return LABELS
    if loss.task == "binary":
        return rng.integers(0, 2, (N, 6))
    return rng.poisson(2.0, (N, 6 // len(getattr(loss, "levels", "1")))).astype(float)


# -------------------------------------------------------------------------------------- round trips

OPTIONS = {"label_smoothing": 0.2, "delta": 0.4, "levels": (0.1, 0.5, 0.8)}


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", ["default", "other"])
@pytest.mark.parametrize("cls", list(LOSSES), ids=LOSSES.names)
def test_every_loss_comes_back(
    cls: type[Loss], options: str, dtype: str, X: np.ndarray, path: Path
) -> None:
    names = [f.name for f in dataclasses.fields(cls)] if options == "other" else []  # type: ignore[arg-type]
    loss = cls(**{name: OPTIONS[name] for name in names if name in OPTIONS})
    y = target_for(loss)
    saved = Network([Dense(3), Tanh(), Dense(3 if loss.task == "classes" else 6)], loss, dtype)
    saved.fit(X, y, epochs=1)
    saved.save(path)
    loaded = Network.load(path)
    assert_same(saved, loaded, X)
    assert loaded.loss == loss
    assert type(loaded.loss) is cls
    assert loaded.predict(X).tobytes() == saved.predict(X).tobytes()
    assert loaded.evaluate(X, y) == saved.evaluate(X, y)
    for net in (saved, loaded):
        net.fit(X, y, epochs=1)
    assert saved.params.tobytes() == loaded.params.tobytes()


@pytest.mark.nojit
@pytest.mark.parametrize("cls", list(LAYERS), ids=LAYERS.names)
def test_every_layer_comes_back(cls: type[Layer], X: np.ndarray, path: Path) -> None:
    X = samples(len(X))[0]
    X[:, 0] %= N_CATEGORIES
    layers = [example_of(cls.name), example_of(cls.name)]
    if issubclass(cls, Activation):
        layers[1] = cls(**_activation_options(cls.name))
    if {"embedding"} & {leaf.name for _, leaf in leaves(layers)}:
        del layers[1]  # it reads numbers of categories, which come first only
    saved = Network([layers[0], Dense(X.shape[1]), *layers[1:], Dense(3)]).build(X.shape[1])
    saved.save(path)
    loaded = Network.load(path)
    assert_same(saved, loaded, X)
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in saved.layers]
    for net in (saved, loaded):
        net.fit(X, LABELS, epochs=2, batch_size=5)
    assert saved.params.tobytes() == loaded.params.tobytes()


@pytest.mark.nojit
@pytest.mark.parametrize("name", INITIALIZERS.names)
def test_every_initializer_comes_back(name: str, path: Path, X: np.ndarray) -> None:
    made = INITIALIZERS[name]()
    layer = Dense(N_FEATURES, 3, initializer=made, bias_initializer=name, max_norm=2.0)
    saved = Network([layer, Tanh(), Dense(3)])
    saved.save(path)
    loaded = Network.load(path)
    assert loaded.layers[0].initializer == loaded.layers[0].bias_initializer == made
    for net in (saved, loaded):  # the tangent parametrisation also decides about steps
        net.fit(X, LABELS, epochs=1)
    assert saved.params.tobytes() == loaded.params.tobytes()


CLASSES = {
    "integers": LABELS,
    "other integers": LABELS * 5 - 3,
    "bytes": LABELS.astype(np.uint8),
    "floats": LABELS + 1.0,
    "strings": np.array(["null", "NaN", 'é "quoted" \\ 犬'])[LABELS],
    "objects": np.array(["null", "NaN", "é"], object)[LABELS],
    "booleans": LABELS > 0,
    "one-hot rows": np.eye(3)[LABELS],
}


@pytest.mark.nojit
@pytest.mark.parametrize("y", CLASSES.values(), ids=CLASSES)
def test_labels_come_back_in_their_type(y: np.ndarray, X: np.ndarray, path: Path) -> None:
    saved = Network([Dense(2 if y.dtype == bool else 3)])
    saved.fit(X, y, epochs=1)
    saved.save(path)
    loaded = Network.load(path)
    if y.ndim == 1:
        assert loaded.classes_.dtype == y.dtype
        assert loaded.classes_.tolist() == np.unique(y).tolist()
    else:
        assert loaded.classes_ is None
    assert loaded.predict(X).dtype == saved.predict(X).dtype
    assert loaded.predict(X).tolist() == saved.predict(X).tolist()
    assert loaded.score(X, y) == saved.score(X, y)


@pytest.mark.nojit
@pytest.mark.parametrize("y", [np.arange(N) % 2, np.array(["no", "yes"])[np.arange(N) % 2]])
def test_yes_or_no_comes_back(y: np.ndarray, X: np.ndarray, path: Path) -> None:
    saved = Network([Dense(1)], "binary_cross_entropy")
    saved.fit(X, y, epochs=1)
    saved.save(path)
    assert Network.load(path).predict(X).tolist() == saved.predict(X).tolist()
    assert Network.load(path).score(X, y) == saved.score(X, y)


@pytest.mark.nojit
@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 2)])
def test_the_shape_of_numbers_comes_back(shape: tuple[int, ...], X: np.ndarray, path: Path) -> None:
    saved = Network([Dense(2 * shape[-1] if len(shape) > 1 else 2)], Quantile((0.2, 0.8)))
    saved.fit(X, np.ones(shape), epochs=1)
    saved.save(path)
    loaded = Network.load(path)
    assert loaded.predict(X).shape == saved.predict(X).shape
    assert loaded.score(X, np.ones(shape)) == saved.score(X, np.ones(shape))


@pytest.mark.nojit
@pytest.mark.parametrize("names", [None, ("a", "b", "c", "d"), ("é", "", " ", "a,b")])
def test_names_of_columns_come_back(
    names: tuple[str, ...] | None, network: Network, path: Path
) -> None:
    network.feature_names = names
    network.save(path)
    assert Network.load(path).feature_names == names


@pytest.mark.nojit
def test_a_network_that_saw_no_targets_comes_back(path: Path) -> None:
    Network([Dense(3, 2)]).save(path)
    loaded = Network.load(path)
    assert loaded.coder is None
    assert message(lambda: loaded.predict(np.ones((1, 3))), InputError).endswith("call fit first")


@pytest.mark.nojit
def test_a_network_without_parameters_comes_back(path: Path, X: np.ndarray) -> None:
    saved = Network([Tanh()]).build(N_FEATURES)
    saved.save(path)
    assert Network.load(path).outputs(X).tobytes() == saved.outputs(X).tobytes()


@pytest.mark.nojit
def test_numbers_of_numpy_are_saved_as_plain_ones(path: Path, X: np.ndarray) -> None:
    saved = Network(
        [Dense(np.int64(5), max_norm=np.float32(2)), Dropout(np.float32(0.25)), Dense(np.int8(2))],
        Quantile(np.array([0.25, 0.75], np.float32)),
        random_state=np.int64(3),
        l1=np.float32(0.5),
    ).build(np.int64(N_FEATURES))
    saved.save(path)
    assert_same(saved, Network.load(path), X)


@pytest.mark.nojit
def test_the_file_is_plain_safetensors(network: Network, path: Path) -> None:
    network.save(path)
    tensors = load_file(path)
    assert list(tensors) == ["1.W", "1.b", "3.W", "3.b"]
    assert tensors["1.W"].tobytes() == network.layers[1].W.tobytes()
    header = header_of(path)
    assert header["format"] == serialization.FORMAT == 2
    assert header["layers"][0] == {"name": "dropout", "rate": 0.1}
    assert header["targets"]["classes"] == [0, 1, 2]


@pytest.mark.nojit
def test_a_path_may_be_text_and_suffixes_of_any_case(network: Network, tmp_path: Path) -> None:
    place = str(tmp_path / "net.SafeTensors")
    network.save(place)
    assert Network.load(place).params.tobytes() == network.params.tobytes()


# ----------------------------------------------------------------------------- user-defined parts


class OwnLoss(Loss):
    """The mean absolute error in NumPy, without a setting."""

    name = "own_loss"

    def value_and_gradient(
        self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray
    ) -> tuple[float, np.ndarray]:
        share = sample_weight[:, None] / sample_weight.sum() / outputs.shape[1]
        r = outputs - targets
        return float((share * np.abs(r)).sum()), share * np.sign(r)


@dataclasses.dataclass(frozen=True)
class OwnPower(OwnLoss):
    """With a setting, as a dataclass."""

    name: ClassVar[str] = "own_power"
    scale: float = 1.0


@dataclasses.dataclass
class OwnScale(Layer):
    """A layer with a setting and a parameter."""

    name: ClassVar[str] = "own_scale"
    power: int = 1

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"s": (self.n_in or 0,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.parameters["s"][...] = rng.uniform(1, 2, self.n_in)

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        self.X = X
        return X * self.parameters["s"] ** self.power

    def backward(self, dY: np.ndarray) -> np.ndarray:
        s = self.parameters["s"]
        self.gradients["s"][...] = (dY * self.X).sum(axis=0) * self.power * s ** (self.power - 1)
        return dY * s**self.power


class OwnPlain(Layer):
    """A layer without a setting, not a dataclass."""

    name = "own_plain"

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        return X + 1

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return dY


@pytest.mark.nojit
@pytest.mark.parametrize("loss", [OwnLoss(), OwnPower(3.0)])
def test_parts_of_ones_own_come_back_if_their_classes_are_named(
    loss: Loss, X: np.ndarray, path: Path
) -> None:
    saved = Network([OwnPlain(), Dense(3), OwnScale(2), Dense(2)], loss)
    saved.fit(X, X[:, :2], epochs=1)
    saved.save(path)
    loaded = Network.load(path, custom=[OwnScale, OwnPlain, type(loss)])
    assert_same(saved, loaded, X)
    assert loaded.layers[2].power == 2
    assert type(loaded.loss) is type(loss)
    assert getattr(loaded.loss, "scale", 0) == getattr(loss, "scale", 0)
    for net in (saved, loaded):
        net.fit(X, X[:, :2], epochs=1)
    assert saved.params.tobytes() == loaded.params.tobytes()
    for custom, kind, name in (
        ((), "layer", "own_plain"),
        ((OwnScale, OwnPlain), "loss", loss.name),
        ((type(loss), OwnPlain), "layer", "own_scale"),
    ):
        assert message(lambda given=custom: Network.load(path, given)) == (
            f"Network.load({str(path)!r}): expected a {kind} that fastmlp knows, "
            f"got {name!r}; pass its class in custom"
        )
    assert Network.load(path, [int, OwnScale, OwnPlain, type(loss)]).loss.name == loss.name
    assert "own_loss" not in LOSSES.names  # only those calls knew them


# ------------------------------------------------------------------------------ what is wrong in it


def header_of(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    return json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["fastmlp"])


def rewritten(path: Path, text: str | None, tensors: dict[str, np.ndarray] | None = None) -> None:
    """The same file with another header, or none of fastmlp's, or with other tensors."""
    held = load_file(path) if tensors is None else tensors
    metadata = {} if text is None else {"fastmlp": sealed(text, held)}
    save_file(held, path, metadata=metadata)


def refused(path: Path) -> str:
    """The error's text after the place."""
    text = message(lambda: Network.load(path))
    start = f"Network.load({str(path)!r}): expected "
    assert text.startswith(start)
    return text.removeprefix(start)


UNREADABLE = "a whole model file, got one that is cut short or damaged; restore it from a copy"
FOREIGN = "a model saved by fastmlp (.safetensors), got {}; pass a file that Network.save wrote"
NOT_JSON = "a whole model file, got a header that is not JSON; restore it from a copy"
NO_FORMAT = "a whole model file, got a header without a format number; restore it from a copy"


WRONG = "a whole model file, got a header with missing or wrong entries; restore it from a copy"
UNFIT = "a whole model file, got a header that does not fit its parameters; restore it from a copy"
NOT_FINITE = (
    "a whole model file, got one with nan or infinity among its parameters; restore it from a copy"
)
UNKNOWN = "a {} that fastmlp knows, got {!r}; pass its class in custom"


@pytest.mark.nojit
def test_a_missing_file(tmp_path: Path) -> None:
    for place, got in (
        (tmp_path / "none.safetensors", "no such file"),
        (tmp_path / "none" / "none.safetensors", "no such file"),
        (tmp_path, "a folder"),
        (tmp_path / ("a" * 300), "File name too long"),
    ):
        assert message(lambda place=place: Network.load(place)) == (
            f"Network.load({str(place)!r}): expected a model file, got {got}; check the path"
        )


@pytest.mark.slow
@pytest.mark.nojit
def test_every_truncated_file_is_refused(network: Network, path: Path) -> None:
    network.save(path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        unlike = FOREIGN.format("something else" if size else "an empty file")
        assert refused(path) == (unlike if size < 9 else UNREADABLE)
    path.write_bytes(whole + b"\0")
    assert refused(path) == UNREADABLE


@pytest.mark.nojit
@pytest.mark.parametrize(
    "content",
    [b"\0" * 8, b"PK\x03\x04 a zip file", b"\xff" * 100, b"{}", bytes(1000), b"a,b\n1,2\n3,4\n"],
)
def test_other_files_are_refused(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    assert refused(path) == FOREIGN.format("something else")


@pytest.mark.nojit
def test_a_header_that_asks_for_much_memory_gets_none(network: Network, path: Path) -> None:
    network.save(path)
    header = header_of(path)
    header["layers"][1]["n_out"] = header["layers"][3]["n_in"] = 2**31 - 1
    rewritten(path, json.dumps(header))
    assert refused(path) == UNFIT


@pytest.mark.nojit
def test_safetensors_of_other_programs_are_refused(network: Network, path: Path) -> None:
    expected = (
        "a model saved by fastmlp, got a safetensors file of another program; "
        "save it with Network.save"
    )
    network.save(path)
    rewritten(path, None)
    assert refused(path) == expected
    save_file({"w": np.ones(3)}, path)
    assert refused(path) == expected
    save_file({"w": np.ones(3)}, path, metadata={"format": "pt"})
    assert refused(path) == expected


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", NOT_JSON),
        ("{'a': 1}", NOT_JSON),
        ("[" * 99999, NOT_JSON),
        ("[]", NO_FORMAT),
        ("null", NO_FORMAT),
        ("{}", NO_FORMAT),
        ('{"format": "1"}', NO_FORMAT),
        ('{"format": 3}', "format 2 or older, got format 3; update fastmlp"),
        ('{"format": 99, "layers": 3}', "format 2 or older, got format 99; update fastmlp"),
        ('{"format": 1, "format": 1}', NOT_JSON),
        ('{"format": 2}', WRONG),
        ('{"format": 1}', WRONG),
        ('{"format": 1, "layers": 3}', WRONG),
        ('{"format": 1, "layers": [3]}', WRONG),
        ('{"format": 1, "layers": [], "loss": "huber"}', WRONG),
    ],
)  # fmt: skip
def test_headers_that_make_no_sense(text: str, expected: str, network: Network, path: Path) -> None:
    network.save(path)
    rewritten(path, text)
    assert refused(path) == expected


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "an unknown layer": (
        lambda h: h["layers"][2].update(name="rely"), UNKNOWN.format("layer", "rely"),
    ),
    "an unknown loss": (
        lambda h: h["loss"].update(name="none"), UNKNOWN.format("loss", "none"),
    ),
    "a layer's option missing": (lambda h: h["layers"][1].pop("n_in"), WRONG),
    "a layer's option unknown": (lambda h: h["layers"][0].update(p=1), WRONG),
    "a layer without a name": (lambda h: h["layers"][0].pop("name"), WRONG),
    "a layer too many": (
        lambda h: h["layers"].append({**h["layers"][3], "n_in": 3}), UNFIT,
    ),
    "a layer too few": (lambda h: h["layers"].pop(), UNFIT),
    "no layer": (lambda h: h["layers"].clear(), UNFIT),
    "another width": (lambda h: h["layers"][1].update(n_in=5), WRONG),
    "another width throughout": (
        lambda h: (h["layers"][1].update(n_out=5), h["layers"][3].update(n_in=5)),
        UNFIT,
    ),
    "a width as text": (lambda h: h["layers"][1].update(n_in="4"), WRONG),
    "a width of nought": (lambda h: h["layers"][1].update(n_out=0), WRONG),
    "a rate of one": (lambda h: h["layers"][0].update(rate=1.0), WRONG),
    "another type": (lambda h: h.update(dtype="float64"), UNFIT),
    "an unknown type": (lambda h: h.update(dtype="float16"), UNFIT),
    "no loss": (lambda h: h.pop("loss"), WRONG),
    "no seed": (lambda h: h.pop("seed"), WRONG),
    "a negative seed": (lambda h: h.update(seed=-1), WRONG),
    "a negative penalty": (lambda h: h.update(l2=-1), WRONG),
    "nan as a penalty": (lambda h: h.update(l1=float("nan")), WRONG),
    "names of columns as a number": (lambda h: h.update(feature_names=3), WRONG),
    "no word about targets": (lambda h: h.pop("targets"), WRONG),
    "targets without classes": (lambda h: h["targets"].pop("classes"), WRONG),
    "targets without a type": (lambda h: h["targets"].pop("classes_dtype"), WRONG),
    "an unknown type of labels": (
        lambda h: h["targets"].update(classes_dtype="<i3"), WRONG,
    ),
    "a type of labels that Python cannot parse": (
        lambda h: h["targets"].update(classes_dtype=",i8"), WRONG,
    ),
    "labels of another type": (
        lambda h: h["targets"].update(classes=["a", "b", "c"]), WRONG,
    ),
}  # fmt: skip


@pytest.mark.nojit
@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_headers_that_contradict_themselves(
    change: Callable[[dict[str, Any]], Any], expected: str, network: Network, path: Path
) -> None:
    network.save(path)
    header = header_of(path)
    change(header)
    rewritten(path, json.dumps(header))
    assert refused(path) == expected


TENSORS: dict[str, Callable[[dict[str, np.ndarray]], Any]] = {
    "one missing": lambda t: t.pop("1.W"),
    "one too many": lambda t: t.update({"9.W": np.ones(2, "f4")}),
    "another name": lambda t: t.update({"1.w": t.pop("1.W")}),
    "another shape": lambda t: t.update({"1.W": np.ascontiguousarray(t["1.W"].T)}),
    "another size": lambda t: t.update({"3.b": np.zeros(4, "f4")}),
    "another type": lambda t: t.update({"1.b": t["1.b"].astype("f8")}),
    "nan": lambda t: t["1.W"].fill(np.nan),
    "infinity": lambda t: t["3.b"].__setitem__(1, np.inf),
    "none at all": lambda t: t.clear(),
}


@pytest.mark.nojit
@pytest.mark.parametrize("name", TENSORS)
def test_wrong_parameters(name: str, network: Network, path: Path) -> None:
    change, expected = TENSORS[name], NOT_FINITE if name in ("nan", "infinity") else UNFIT
    network.save(path)
    text, tensors = json.dumps(header_of(path)), load_file(path)
    change(tensors)
    rewritten(path, text, tensors)
    assert refused(path) == expected


@pytest.mark.slow
@pytest.mark.nojit
def test_every_flipped_bit_of_the_header_is_refused_or_harmless_to_read(
    network: Network, path: Path, X: np.ndarray
) -> None:
    """Some flips make another valid header, such as another seed; none may fail in another way."""
    network.save(path)
    whole = path.read_bytes()
    size = 8 + struct.unpack("<Q", whole[:8])[0]
    n_refused = 0
    for place in range(size):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        try:
            loaded = Network.load(path)
        except FileError as error:
            text = str(error)
            assert text.startswith(f"Network.load({str(path)!r}): expected ")
            assert text.count("; ") == 1
            n_refused += 1
        else:
            assert loaded.params.tobytes() == network.params.tobytes()
            assert loaded.outputs(X).shape == (N, 3)
    assert n_refused > 0.9 * size


@pytest.mark.slow
@pytest.mark.nojit
def test_any_value_in_any_place_of_the_header_is_refused_or_harmless_to_read(
    network: Network, path: Path
) -> None:
    network.save(path)
    header, tensors = header_of(path), load_file(path)
    values = [None, True, -1, 0, 2, 10**400, 0.5, float("nan"), "", "dense", [], [[]], {}]

    def places(part: Any) -> list[tuple[Any, Any]]:
        keys = (
            part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
        )
        return [found for key in keys for found in ((part, key), *places(part[key]))]

    for part, key in places(header):
        kept = part[key]
        for value in values:
            part[key] = value
            text = sealed(json.dumps(header), tensors)
            save_file(tensors, path, metadata={"fastmlp": text})
            try:
                loaded = Network.load(path)
            except FileError:
                continue
            assert loaded.params.tobytes() == network.params.tobytes()
        part[key] = kept


# ------------------------------------------------------------------------------------------- saving


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_others_may_read_a_model_if_they_may_read_any_file(network: Network, path: Path) -> None:
    (other := path.with_name("other")).touch()
    network.save(path)
    assert path.stat().st_mode == other.stat().st_mode


def names_in(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir())


@pytest.mark.nojit
def test_saving_again_replaces_the_file(network: Network, path: Path) -> None:
    network.save(path)
    network.params[...] = 7
    network.save(path)
    assert (Network.load(path).params == 7).all()
    assert names_in(path.parent) == ["model.safetensors"]


@pytest.mark.nojit
@pytest.mark.parametrize("failure", ["writing", "half written", "sync", "moving"])
def test_a_failed_save_keeps_the_old_file_and_leaves_nothing_else(
    failure: str, network: Network, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.save(path)
    before = path.read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    def half(tensors: Any, place: Path, metadata: Any) -> None:
        place.write_bytes(before[:50])
        fail()

    if failure == "sync":
        monkeypatch.setattr(files.os, "fsync", fail)
    elif failure == "moving":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        write = fail if failure == "writing" else half
        monkeypatch.setattr("safetensors.numpy.save_file", write)
    network.params[...] = 7
    assert message(lambda: network.save(path)) == (
        f"Network.save: expected to write {str(path)!r}, got No space left on device; "
        "check the folder's permissions and free space"
    )
    assert path.read_bytes() == before
    assert names_in(path.parent) == ["model.safetensors"]


@pytest.mark.nojit
def test_an_interrupted_save_keeps_the_old_file_and_leaves_nothing_else(
    network: Network, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.save(path)
    before = path.read_bytes()

    def interrupted(tensors: Any, place: Path, metadata: Any) -> None:
        place.write_bytes(before[:50])
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.numpy.save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        network.save(path)
    assert path.read_bytes() == before
    assert names_in(path.parent) == ["model.safetensors"]


@pytest.mark.nojit
def test_errors_of_safetensors_are_file_errors(
    network: Network, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors

    def fail(*_: Any, **__: Any) -> None:
        raise safetensors.SafetensorError("Error while serializing: I/O error")

    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    assert message(lambda: network.save(path)) == (
        f"Network.save: expected to write {str(path)!r}, "
        "got Error while serializing: I/O error; check the folder's permissions and free space"
    )
    assert names_in(path.parent) == []


@pytest.mark.nojit
def test_places_that_cannot_be_written(network: Network, tmp_path: Path) -> None:
    assert message(lambda: network.save(tmp_path / "model.pt")) == (
        "Network.save: expected a file name ending in .safetensors, got 'model.pt'; "
        "change the suffix"
    )
    assert message(lambda: network.save(tmp_path / "none" / "model.safetensors")) == (
        f"Network.save: expected an existing folder to write to, got {str(tmp_path / 'none')!r}; "
        "create it first"
    )
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    assert message(lambda: network.save(folder)) == (
        f"Network.save: expected the name of a file, got the folder {str(folder)!r}; "
        "add a file name"
    )
    assert names_in(tmp_path) == ["folder.safetensors"]
    assert names_in(folder) == []


@pytest.mark.nojit
def test_what_json_does_not_know_is_refused_before_anything_is_written(
    X: np.ndarray, path: Path
) -> None:
    dates = np.array(["2024-01-01", "2024-01-02", "2024-01-03"], "M8[D]")[LABELS]
    for y, kind in ((dates, "date"), (np.array([b"x", b"y", b"z"])[LABELS], "bytes")):
        network = Network([Dense(3)])
        network.fit(X, y, epochs=1)
        assert message(lambda net=network: net.save(path), InputTypeError) == (
            "Network.save: expected labels and settings that are numbers or text, "
            f"got {kind}; turn them into numbers or text first"
        )
    assert names_in(path.parent) == []


@pytest.mark.nojit
def test_saving_changes_nothing_about_the_network(network: Network, path: Path) -> None:
    before, W = network.params.copy(), network.layers[1].W
    network.save(path)
    assert network.params.tobytes() == before.tobytes()
    assert network.layers[1].W is W


@pytest.mark.nojit
def test_a_loaded_network_is_compiled_like_the_saved_one(network: Network, path: Path) -> None:
    network.save(path)
    loaded = Network.load(path)
    assert lowering.can_compile(loaded.layers, loaded.loss, Adam())
    assert isinstance(loaded.layers[2], LeakyReLU)
    assert not isinstance(loaded.layers[2], ReLU)


# --------------------------------------------------------------------------------- earlier versions

FROZEN = sorted((Path(__file__).parents[1] / "frozen").glob("*.safetensors"))


@pytest.mark.nojit
@pytest.mark.parametrize("path", FROZEN, ids=lambda path: path.stem)
def test_files_of_earlier_versions_stay_readable(path: Path) -> None:
    """Each was written when its format was new; none of them is ever written again."""
    wanted = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    network = Network.load(path)
    assert repr(list(network.layers)) == wanted["layers"]
    np.testing.assert_allclose(network.predict_proba(wanted["X"]), wanted["predict_proba"], 1e-5)
    found = np.asarray(network.predict(wanted["X"]))
    if found.dtype.kind == "f":
        np.testing.assert_allclose(found, wanted["predict"], 1e-5)
    else:
        assert found.tolist() == wanted["predict"]


@pytest.mark.nojit
def test_every_format_has_frozen_files() -> None:
    formats = {int(path.stem[len("format")]) for path in FROZEN}
    assert formats == set(range(1, serialization.FORMAT + 1))


@pytest.mark.nojit
def test_one_changed_bit_is_found(network: Network, path: Path) -> None:
    network.save(path)
    whole = path.read_bytes()
    for place in range(len(whole) - 1, 0, -97):
        for bit in (0, 6):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            with pytest.raises(FileError):
                Network.load(path)
