"""The Triton kernel gives the reference's maps: on a GPU where there is one, else in Triton's interpreter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import pair
from test_calibration import calibration
from test_kernels import CLOSE, reference, smooth_pair

from essim.calibration import at_level, calibrated_map
from essim.ensemble import STRATEGIES
from essim.ssim import SIGMAS, check_pair

pytest.importorskip("triton")
from essim.kernels import cuda  # noqa: E402

FEW = (0.3, 1.1)  # the interpreter takes its time
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # conftest.py turns the interpreter on for the CPU


def assert_like_the_reference(x, y, *, mask=None, sigmas=SIGMAS, strategy="adaptive", temperature=1.0, data_range=None):
    options = {"sigmas": sigmas, "strategy": strategy, "temperature": temperature, "mask": mask}
    expected = reference(x, y, data_range=data_range, **options)
    options["mask"] = None if mask is None else mask.to(DEVICE)
    options["data_range"] = check_pair(x, y, sigmas, data_range).to(DEVICE)
    found = cuda.anomaly_maps(x.to(DEVICE), y.to(DEVICE), **options).cpu()
    assert found.shape == x.shape and found.dtype == torch.float32
    np.testing.assert_allclose(found.double().numpy(), expected.numpy(), **CLOSE)
    return found


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("shape", [(1, 2, 5, 6, 18), (2, 1, 30, 9)])
def test_same_map_as_the_reference(shape, strategy):
    x, y, mask = pair(shape)
    for chosen in (None, mask):
        assert assert_like_the_reference(x, y, sigmas=FEW, strategy=strategy, mask=chosen).std() > 0.01


def test_much_closer_on_smooth_images():
    x, y = smooth_pair((40, 44))
    found = assert_like_the_reference(x, y)
    np.testing.assert_allclose(found.double().numpy(), reference(x, y).numpy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sigmas", [[0.1], [2.2], [4.0, 0.5], [4.7]])  # tiles of 16 and 32
def test_any_list_of_sigmas(sigmas):
    length = int(3.5 * max(sigmas) + 0.5) + 3
    x, y, mask = pair((1, 1, length, length))
    assert_like_the_reference(x, y, sigmas=sigmas, mask=mask)


def test_windows_that_do_not_fit():
    assert not cuda.obstacle([0.3, 4.7], 1.0)
    assert cuda.obstacle([5.0, 0.3], 1.0) == "takes sigmas below 4.7, got 5"


@pytest.mark.skipif(DEVICE == "cuda", reason="the other tests run what is compiled here")
def test_every_tile_compiles_for_an_h100(tmp_path):
    """Without a GPU: into machine code, within the shared memory of a block and nearly without spilt registers."""
    own = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, Path(__file__).with_name("compile_cuda.py")]
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["strategy"], row["tile"]) for row in found] == [(0, 16), (0, 32), (3, 16), (3, 32)]
    for row in found:
        assert row["shared"] <= 227 * 1024 and row["registers"] >= 64 and row["stack"] < 1024, row


@pytest.mark.parametrize("temperature", [0.001, 0.1, 30.0])
def test_any_temperature(temperature):
    x, y, _ = pair((1, 1, 12, 13))
    assert_like_the_reference(x, -y, sigmas=FEW, temperature=temperature)


def test_every_item_has_its_own_data_range_and_constants_are_defined():
    x, y, mask = pair((3, 1, 7, 9))
    scale = torch.tensor([1.0, 50.0, 1e-12]).reshape(3, 1, 1, 1)
    assert_like_the_reference(x * scale, y * scale)
    x[1], y[1], x[2], y[2] = 0.6, 0.2, 0.3, 0.3
    found = assert_like_the_reference(x, y, mask=mask)
    assert (found[2] == 0).all()
    assert found[1].amax() == pytest.approx(1 - 2 * 0.12 / 0.4, abs=1e-6)


def test_far_from_zero_and_turned():
    x, y, mask = pair((1, 1, 5, 6, 7))
    assert_like_the_reference(x + 100, y + 100, sigmas=FEW)
    turned = [volume.permute(0, 1, 4, 2, 3) for volume in (x, y, mask)]
    assert_like_the_reference(*turned[:2], mask=turned[2], sigmas=FEW)


def test_a_tile_outside_the_mask_is_zero():
    x, y, mask = pair((1, 1, 9, 40))
    mask[..., :20] = False
    assert (assert_like_the_reference(x, y, mask=mask)[..., :20] == 0).all()


@pytest.mark.parametrize("shape", [(1, 2, 5, 6, 18), (2, 1, 7, 19, 6)])
def test_calibrated(shape):
    x, y, mask = pair(shape)
    made = calibration(shape[2:], FEW)
    expected = calibrated_map(x.double(), y.double(), made, mask=mask, backend="torch")
    options = {"mask": mask.to(DEVICE), "data_range": check_pair(x, y, FEW, None).to(DEVICE), "calibration": made}
    y = at_level(x, y, made.level, check_pair(x, y, FEW, None))
    found = cuda.calibrated_maps(x.to(DEVICE), y.to(DEVICE), **options).cpu()
    np.testing.assert_allclose(found.double().numpy(), expected.numpy(), atol=1e-3, rtol=1e-4)
