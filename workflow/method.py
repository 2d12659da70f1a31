"""The method in one picture, for the top of the README: a real run on a grown patient with a network of models/.

    method.py FIGURE      without an ending: FIGURE.png, FIGURE.pdf, and FIGURE.json with their provenance

In: models/laptop_t2. Out: scan -> noised -> as if healthy -> 1 - SSIM at three sigmas -> ensemble, and the truth.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import essim
from essim import cases, models, pictures, score, ssim, volumes
from essim.cohort import CohortConfig, generate
from essim.pictures import Panel
from essim.provenance import provenance, save_figure

MODEL = Path(__file__).resolve().parents[1] / "models/laptop_t2"
RUN = {"dataset": "tumour", "seed": 2024, "voxel_mm": 2, "t": 500, "draws": 4, "sigmas": [0.3, 0.9, 1.7]}


def patient(dataset, seed, voxel_mm):
    """One grown patient in the network's space."""
    people = dict.fromkeys(("train", "val", "test", "patients_val"), 0)
    with TemporaryDirectory() as folder:
        generate(CohortConfig(seed=seed, voxel_mm=voxel_mm, patients_test=1, **people), folder)
        scans = essim.load_scans(folder).query("contrast == 't2' and dataset == @dataset")
        return volumes.load_scan(scans.iloc[0], score.read_recipe(MODEL).preprocessing)


def picture():
    """The figure."""
    scan, diffusion = patient(*(RUN[name] for name in ("dataset", "seed", "voxel_mm"))), models.load_model(MODEL, "cpu")
    healthy = cases.reconstruct_volume(diffusion, scan.image, scan.mask, t=RUN["t"], draws=RUN["draws"], seed=[0])
    x, y, mask = (torch.from_numpy(a)[None, None] for a in (scan.image, healthy, scan.mask))
    maps = ((1 - ssim.ssim_maps(x, y, sigmas=RUN["sigmas"])) * mask)[:, 0, 0].numpy()
    ensemble = essim.ensemble_map(x, y, mask=mask)[0, 0].numpy()
    z = cases.widest_slice(scan.seg)
    box = (*pictures.around(scan.mask[:, :, z], margin=2), z)
    x0 = 2 * x[:, :, :, :, z] - 1  # the network's world is -1 to 1
    noised = diffusion.q_sample(x0, torch.tensor([RUN["t"]]), diffusion.sample_noise(x0.shape, seed=0))[0, 0].numpy()
    seg, sigmas = scan.seg[box], [f"1 \N{MINUS SIGN} SSIM, \u03c3 = {sigma}" for sigma in RUN["sigmas"]]
    before = [("scan", Panel(scan.image[box], limits=(0, 1))), "noise"]
    before += [(f"t = {RUN['t']}", Panel(noised[box[:2]], limits=(-1.4, 1.4))), "denoise"]
    before += [("as if healthy", Panel(healthy[box], limits=(0, 1))), "compare"]
    compared = [(title, Panel(one[box], kind="map")) for title, one in zip(sigmas, maps, strict=True)]
    after = ["weigh", (f"ensemble of {len(essim.SIGMAS)} \u03c3", Panel(ensemble[box], seg, "map"))]
    after += [("truth", Panel(scan.image[box], seg, limits=(0, 1)))]
    return pictures.method(before + compared + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=Path)
    save_figure(picture(), parser.parse_args().figure, provenance(RUN, [MODEL / "weights.safetensors"]))


if __name__ == "__main__":
    main()
