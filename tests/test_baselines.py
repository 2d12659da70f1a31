"""The intensity baseline."""

import numpy as np
import torch

from essim.baselines import intensity_map


def test_bright_in_t2_dark_in_t1():
    image = np.array([0.0, 0.2, 0.9, 0.7])
    mask = np.array([True, True, True, False])
    np.testing.assert_allclose(intensity_map(image, mask, "t2"), [0, 0.2, 0.9, 0], atol=1e-12)
    np.testing.assert_allclose(intensity_map(image, mask, "t1"), [1, 0.8, 0.1, 0], atol=1e-12)
    tensors = torch.from_numpy(image), torch.from_numpy(mask)
    np.testing.assert_allclose(intensity_map(*tensors, "t1").numpy(), [1, 0.8, 0.1, 0], atol=1e-12)
