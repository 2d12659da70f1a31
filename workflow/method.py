"""The method in one picture, for the top of the README: a real run on a grown patient with a network of models/.

    method.py FIGURE      without an extension: FIGURE.png, FIGURE.pdf, and FIGURE.json with their provenance

In: models/laptop_t2. Out: scan -> noised -> reconstruction -> 1 - SSIM at three sigmas -> ensemble, and ground truth.
"""

import argparse
from pathlib import Path

import torch

import essim
from essim import models, ssim
from essim.evaluation import cases
from essim.figures.pictures import Panel, bare_figure, box_around
from essim.runs.provenance import provenance, save_figure
from essim.study import teaching

MODEL = Path(__file__).resolve().parents[1] / "models/laptop_t2"
RUN = {"dataset": "tumour", "index": 0, "t": 500, "draws": 4, "sigmas": [0.3, 0.9, 1.7]}


def picture():
    """The run of RUN as a figure."""
    diffusion = models.load_model(MODEL, "cpu")
    scan = teaching.case(RUN["dataset"], RUN["index"], "t2", diffusion, t=RUN["t"], draws=RUN["draws"])
    x, y, mask = scan.tensors()
    maps = ((1 - ssim.ssim_maps(x, y, sigmas=RUN["sigmas"])) * mask)[:, 0, 0].numpy()
    ensemble = essim.ensemble_map(x, y, mask=mask)[0, 0].numpy()
    z = cases.widest_slice(scan.seg)
    box = (*box_around(scan.mask[:, :, z], margin=2), z)
    x0 = 2 * x[:, :, :, :, z] - 1  # the network's range is -1 to 1
    noised = diffusion.q_sample(x0, torch.tensor([RUN["t"]]), diffusion.sample_noise(x0.shape, seed=0))[0, 0].numpy()
    seg, sigmas = scan.seg[box], [f"1 \N{MINUS SIGN} SSIM, \u03c3 = {sigma}" for sigma in RUN["sigmas"]]
    before = [("scan", Panel(scan.image[box], limits=(0, 1))), "noise"]
    before += [(f"t = {RUN['t']}", Panel(noised[box[:2]], limits=(-1.4, 1.4))), "denoise"]
    before += [("reconstruction", Panel(scan.reconstruction[box], limits=(0, 1))), "compare"]
    compared = [(title, Panel(unlike[box], kind="map")) for title, unlike in zip(sigmas, maps, strict=True)]
    after = ["weigh", (f"ensemble of {len(essim.SIGMAS)} \u03c3", Panel(ensemble[box], seg, "map"))]
    after += [("ground truth", Panel(scan.image[box], seg, limits=(0, 1)))]
    return show_method(before + compared + after)


def show_method(parts, size=1.2):
    """The steps of a method in one row: a picture is (title, Panel), a text between two is written over an arrow."""
    widths = [0.5 if isinstance(part, str) else 1 for part in parts]
    shape = next(part[1] for part in parts if not isinstance(part, str)).image.shape
    height = size * shape[1] / shape[0] + 0.3
    figure, axes = bare_figure(1, len(parts), size * sum(widths), height, width_ratios=widths)
    for axis, part in zip(axes[0], parts, strict=True):
        if isinstance(part, str):
            axis.text(0.5, 0.56, part, ha="center", va="bottom", transform=axis.transAxes)
            arrow = {"arrowstyle": "-|>", "color": "black"}
            axis.annotate("", (0.95, 0.5), (0.05, 0.5), "axes fraction", "axes fraction", arrowprops=arrow)
        else:
            axis.set_title(part[0])
            part[1].draw(axis)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=Path)
    save_figure(picture(), parser.parse_args().figure, provenance(RUN, [MODEL / "weights.safetensors"]))


if __name__ == "__main__":
    main()
