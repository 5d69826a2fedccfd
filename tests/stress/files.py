"""Model files changed at random: each must be refused in one sentence or read whole."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastmlp import Dense, Dropout, LeakyReLU, Network
from fastmlp.errors import FileError

from .outcome import Outcome

Rng = np.random.Generator


def _flip(data: bytearray, rng: Rng) -> bytes:
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


def _flip_header(data: bytearray, rng: Rng) -> bytes:
    place = int(rng.integers(0, min(len(data), 1200)))
    data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


def _cut(data: bytearray, rng: Rng) -> bytes:
    return bytes(data[: int(rng.integers(0, len(data)))])


def _insert(data: bytearray, rng: Rng) -> bytes:
    place = int(rng.integers(0, len(data) + 1))
    return bytes(data[:place]) + rng.bytes(int(rng.integers(1, 200))) + bytes(data[place:])


def _repeat(data: bytearray, rng: Rng) -> bytes:
    first, last = sorted(rng.integers(0, len(data), 2))
    return bytes(data[:last]) + bytes(data[first:last]) + bytes(data[last:])


def _zero(data: bytearray, rng: Rng) -> bytes:
    first, last = sorted(rng.integers(0, len(data), 2))
    data[first:last] = bytes(int(last - first))
    return bytes(data)


def _digits(data: bytearray, rng: Rng) -> bytes:
    """Other numbers in the header: sizes, offsets, lengths, options."""
    places = [i for i, byte in enumerate(data[:1500]) if chr(byte).isdigit()]
    for place in rng.choice(places, 2):
        data[place] = ord("0") + int(rng.integers(10))
    return bytes(data)


def _noise(data: bytearray, rng: Rng) -> bytes:
    return rng.bytes(int(rng.integers(0, 4000)))


CHANGES: tuple[Callable[[bytearray, Rng], bytes], ...] = (
    _flip, _flip_header, _cut, _insert, _repeat, _zero, _digits, _noise,
)  # fmt: skip


def run(count: int, seed: int) -> Outcome:
    """So many changed files, all kinds of change in turn."""
    outcome, rng = Outcome(), np.random.default_rng(seed)
    network = Network([Dense(6, 7), LeakyReLU(0.1), Dropout(0.3), Dense(7, 3)], random_state=0)
    network.fit(rng.normal(size=(30, 6)), np.array(list("abc") * 10), epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        network.save(path)
        whole = path.read_bytes()
        for number in range(count):
            change = CHANGES[number % len(CHANGES)]
            path.write_bytes(changed := change(bytearray(whole), rng))
            try:
                twin = Network.load(path)
            except FileError as refusal:
                outcome.counts["refused"] += 1
                if "\n" in str(refusal):
                    outcome.failures.append(f"change {number}: {refusal}")
            except BaseException as error:
                outcome.failures.append(f"change {number}, {change.__name__}: {error!r}")
            else:
                same = twin.params.tobytes() == network.params.tobytes()
                same = same and repr(twin.layers) == repr(network.layers)
                same = same and list(twin.classes_) == list(network.classes_)  # type: ignore[arg-type]
                outcome.counts["read whole" if changed != whole else "not changed"] += 1
                if not same:
                    outcome.failures.append(f"change {number}, {change.__name__}: read another net")
    return outcome
