"""The best sigma of every lesion as a figure.

In: tables of essim.study.best_sigma. Out: a matplotlib Figure; `essim.runs.provenance.save_figure` writes it.
"""

import numpy as np

from essim.figures.pictures import BLUE, GREEN, NAMES, ORANGE, PURPLE, RED, new_figure

LOOKS = [(ORANGE, "s", "-"), (GREEN, "^", "--"), (RED, "D", "-."), (PURPLE, "v", ":"), (BLUE, "o", (0, (5, 1)))]
TICKS = (0.3, 0.5, 1, 2, 4)  # of sigma
# term of the models: the lesion's column, its axis
AXES = {
    "volume": ("volume_ml", "lesion volume (ml)"),
    "thickness": ("thickness_mm", "thickness (mm)"),
    "contrast": ("contrast", "|contrast| (SD of the surroundings)"),
}


def best_sigma(table, lines):
    """Best sigma over volume, thickness and contrast, a point a lesion; last, what every sigma makes of the lesions.

    Args: table: `essim.study.best_sigma.best_sigmas` of all sets; lesions that no sigma finds are left out. lines: {term:
        `essim.study.best_sigma.line`}, drawn with its 95 % band. Points are jittered along sigma. Last: medians over lesions.
    """
    figure, axes = new_figure(1, 4, 11.5, 2.9)
    *panels, last = axes[0]
    table, rng = table[table.found], np.random.default_rng(0)
    if table.empty:
        figure.suptitle("No lesion is found at any \u03c3.")
        return figure
    sigmas = {name: float(name.removeprefix("ssim ")) for name in table if name.startswith("ssim ")}
    looks = dict(zip(table.dataset.unique(), LOOKS * len(table), strict=False))
    for name, (colour, marker, style) in looks.items():
        part = table[table.dataset == name]
        jittered = part.best_sigma * np.exp(rng.uniform(-0.06, 0.06, len(part)))
        for axis, (column, _) in zip(panels, AXES.values(), strict=True):
            look = {"color": colour, "linewidth": 0, "alpha": 0.6}
            axis.scatter(part[column].abs(), jittered, 14, marker=marker, label=NAMES[name], **look)
        share = part[list(sigmas)].div(part.auprc, axis=0).median()
        last.plot(list(sigmas.values()), share, color=colour, marker=marker, linestyle=style)
    for axis, (term, (_, label)) in zip(panels, AXES.items(), strict=True):
        fitted = lines[term].astype(float)
        fitted = fitted.transform({name: (lambda v: v) if name == "contrast" else np.exp2 for name in fitted})
        axis.plot(fitted[term], fitted.log_sigma, color="black", label="fit, 95 % band")
        axis.fill_between(fitted[term], fitted.low, fitted.high, color="black", alpha=0.12, linewidth=0)
        axis.set(xscale="linear" if term == "contrast" else "log", xlabel=label, yscale="log")
        axis.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
        axis.set_yticks([], minor=True)
        axis.xaxis.set_major_formatter("{x:g}")
    panels[1].set_xticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    panels[1].set_xticks([], minor=True)
    panels[0].set_ylabel("best \u03c3 of the lesion (voxels)")
    last.set(xscale="log", xlabel="SSIM window \u03c3 (voxels)", ylabel="share of the lesion's best AUPRC")
    last.set_ylim(0, 1.03)
    last.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    last.set_xticks([], minor=True)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure
