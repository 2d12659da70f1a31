"""What the diffusion model is compared with: scores that need no reconstruction.

In: a scan in [0, 1] and its brain mask. Out: an anomaly map of the same shape.
"""


def intensity_map(image, mask, contrast):
    """The intensity itself, the simplest score: bright voxels in T2, dark ones in T1 (Meissen et al., 2021).

    Args: image [..., H, W, D] in [0, 1]; mask of that shape; contrast "t1" or "t2".
    """
    return (image if contrast == "t2" else 1 - image) * mask
