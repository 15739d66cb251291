"""The measure that decides whether a fast precision is taken."""

from types import SimpleNamespace

import numpy as np
import pytest

from toolkit.backbones.fidelity import Fidelity, check, cosines, fidelity, measured, sample
from toolkit.backbones.frozen import choose_precision
from toolkit.backbones.options import NetworkOptions


def test_cosines__by_hand():
    a = np.array([[1, 0], [1, 1], [0, 0]], np.float32)
    b = np.array([[2, 0], [1, 0], [1, 0]], np.float32)
    np.testing.assert_allclose(cosines(a, b), [1, np.sqrt(0.5), 0], rtol=1e-7)
    assert fidelity(a[:2], b[:2]) == Fidelity(
        pytest.approx((1 + np.sqrt(0.5)) / 2), pytest.approx(np.sqrt(0.5))
    )


@pytest.mark.parametrize(
    ("mean", "worst", "faithful"),
    [(0.9999, 0.999, True), (0.9995, 0.998, True), (0.9994, 0.999, False), (0.9999, 0.9979, False)],
)
def test_faithful__both_limits_count(mean, worst, faithful):
    assert Fidelity(mean, worst).faithful is faithful


def test_sample__pictures_differ_and_are_the_same_every_time():
    np.testing.assert_array_equal(sample(3, 64), sample(3, 64))
    assert sample(3, 64).shape == (64, 64, 3) and not np.array_equal(sample(3, 64), sample(4, 64))


class Toy:
    """Means of the channels; each precision adds another error."""

    def __init__(self, errors):
        self.errors, self.made = errors, []

    def __call__(self, name):
        self.made.append(name)
        self.name = name
        return self if name == "fp32" else _Off(self.errors[name])

    def forward(self, batch):
        return batch.mean(axis=(1, 2), dtype=np.float32)


class _Off:
    def __init__(self, error):
        self.error = error

    def forward(self, batch):
        rows = batch.mean(axis=(1, 2), dtype=np.float32)
        return rows + self.error * rows[:, ::-1] * np.array([1, 0, -1], np.float32)


def network(toy, folder, able=("bf16",), precision="auto", processor="a toy"):
    return SimpleNamespace(
        options=NetworkOptions(backbone="toy", weights="none", precision=precision),
        preprocessing=SimpleNamespace(recipe=SimpleNamespace(crop_size=32)),
        processor=processor,
        fast_precisions=able,
        folder=folder,
        start=toy,
    )


def choose(tmp_path, toy, able, precision="auto"):
    return choose_precision(network(toy, tmp_path, able, precision))


def test_choose__the_first_faithful_one(tmp_path):
    toy = Toy({"bf16": 0.5, "fp16": 1e-3})
    precision, why = choose(tmp_path, toy, ("bf16", "fp16"))
    assert precision == "fp16" and why.startswith("fp16: cosine to fp32 ")


def test_choose__fp32_if_none_is_faithful_and_why(tmp_path):
    precision, why = choose(tmp_path, Toy({"bf16": 0.5}), ("bf16",))
    assert precision == "fp32" and "bf16 is not faithful enough with these weights: cosine" in why
    assert choose(tmp_path, Toy({}), ()) == ("fp32", "a toy has no faster precision worth taking")
    assert choose(tmp_path, Toy({}), ("bf16",), precision="bf16") == ("bf16", "as asked for")


def test_check__is_measured_once_and_a_damaged_file_is_measured_again(tmp_path):
    toy, folder = Toy({"bf16": 1e-3}), tmp_path / "deep"

    def checked(processor="x"):
        return check(network(toy, folder, processor=processor), "bf16")

    first = checked()
    assert toy.made == ["bf16", "fp32"]
    assert checked() == first and toy.made == ["bf16", "fp32"]
    (path,) = folder.iterdir()
    (known,) = measured(folder)
    assert known == {
        "precision": "bf16", "mean": first.mean, "worst": first.worst, "faithful": True,
        "what": "auto on x at 32", "backbone": "toy", "weights": "none",
    }  # fmt: skip
    for damaged in ("{", "[]", '{"mean": 1.0, "worst": 1.0}'):
        path.write_text(damaged)
        with pytest.raises((ValueError, KeyError, TypeError)):
            measured(folder)
        toy.made.clear()
        assert checked() == first and len(toy.made) == 2
    checked("another processor")
    assert len(toy.made) == 4 and len(measured(folder)) == 2
