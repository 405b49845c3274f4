"""The demo model draws the digits asked for, and new ones."""

import numpy as np
import pytest

import tensors
from cluster import ROOT, Cluster

ASSETS = ROOT / "tests" / "assets" / "digits_classifier"
DIFFERENT = 0.5  # Euclidean distance of images with pixels from -1 to 1; see config/models/digits/README.md.


@pytest.fixture(scope="module")
def samples():
    with Cluster(2) as cluster:
        return cluster.digits(100, "--steps", 20).values.reshape(100, 64)


def read_digits(images):
    weights = tensors.File(ASSETS / "classifier.safetensors").tensors
    hidden = images
    for layer in ("fc1", "fc2"):
        hidden = np.maximum(hidden @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"], 0)
    return (hidden @ weights["fc3.weight"].T + weights["fc3.bias"]).argmax(axis=1)


def distances(left, right):
    return np.linalg.norm(left[:, None] - right[None], axis=2)


def test_the_classifier_reads_real_digits():
    real = tensors.File(ASSETS / "training_images.safetensors").tensors
    unseen = real["held_out"] == 1
    images = real["images"].reshape(-1, 64)[unseen] / np.float32(8) - 1
    assert np.mean(read_digits(images) == real["labels"][unseen]) > 0.98


def test_at_least_95_of_100_samples_are_the_digit_asked_for(samples):
    assert np.count_nonzero(read_digits(samples) == np.arange(100) % 10) >= 95


def test_samples_of_a_digit_differ(samples):
    for digit in range(10):
        among = distances(samples[digit::10], samples[digit::10])
        assert among[~np.eye(10, dtype=bool)].min() >= DIFFERENT


def test_no_sample_is_a_training_image(samples):
    real = tensors.File(ASSETS / "training_images.safetensors").tensors["images"].reshape(-1, 64) / np.float32(8) - 1
    assert distances(samples, real).min() >= DIFFERENT
