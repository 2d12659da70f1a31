"""How a pulse sequence shows a tissue: signal equations, and the relaxation times that enter them.

In: a tissue's T1, T2 (ms) and proton density, a sequence's times (ms). Out: its signal, relative.

    T2w     spin echo             S = PD (1 - exp(-TR / T1)) exp(-TE / T2)
    FLAIR   with an inversion     S = PD |1 - 2 exp(-TI / T1) + exp(-TR / T1)| exp(-TE / T2)
    T1w     MPRAGE                the steady state of inversion, recovery and a train of small flip angles

MPRAGE: between two inversions the longitudinal magnetisation M is turned (M -> -M), recovers, and is read by N pulses
of angle a, each of which leaves M cos(a), a time tau apart. The image's contrast is what the middle pulse finds
(J. Mugler, J. Brookeman, Magn. Reson. Med. 15, 1990; equations of J. Wang et al., PLoS ONE 9, e96899, 2014).

Relaxation times at 1.5 and 3 T follow G. Stanisz et al. (Magn. Reson. Med. 54, 2005), J. Wansapura et al. (J. Magn.
Reson. Imaging 9, 1999) and, for lesions, M. Just & M. Thelen (Radiology 169, 1988), J. Oh et al. (J. Magn. Reson.
Imaging 21, 2005) and M. Filippi et al. (Brain 142, 2019). They were fixed before any network was trained.
"""

from dataclasses import dataclass

import numpy as np

PULSES, SPACING_MS = 160, 7.0  # of an MPRAGE readout


@dataclass(frozen=True)
class Tissue:
    """`t1` and `t2` in ms at (1.5 T, 3 T); `density` of protons, relative to water."""

    t1: tuple[float, float]
    t2: tuple[float, float]
    density: float


# What a head is made of, in the order of `Anatomy.fractions`. Deep: the iron-bearing nuclei. Vessel: blood at rest (for
# flow see scanner.FLOW). Dura: membranes and what skull stripping leaves of the skull.
TISSUES = {
    "csf": Tissue((4000, 4300), (1800, 1800), 1.00),
    "grey": Tissue((1000, 1400), (100, 95), 0.83),
    "white": Tissue((640, 860), (80, 74), 0.70),
    "deep": Tissue((850, 1150), (80, 66), 0.79),
    "vessel": Tissue((1400, 1700), (150, 90), 0.85),
    "dura": Tissue((900, 1100), (40, 35), 0.30),
}
# Oedema lies between tissue and water, necrosis and the cavity of an old infarct near CSF; the infarct's rim and white-
# matter hyperintensities are gliotic; MS plaques have lost myelin.
LESIONS = {
    "oedema": Tissue((1100, 1450), (145, 135), 0.85),
    "solid": Tissue((1150, 1550), (115, 108), 0.87),
    "necrosis": Tissue((2200, 2600), (400, 380), 0.95),
    "cavity": Tissue((3200, 3500), (900, 900), 0.98),
    "rim": Tissue((1050, 1400), (135, 128), 0.86),
    "ms": Tissue((1000, 1350), (180, 170), 0.85),
    "wmh": Tissue((900, 1200), (125, 118), 0.80),
}
FIELDS = (1.5, 3.0)  # tesla


def spin_echo(t1, t2, density, *, tr, te):
    """The signal of a T2w spin echo; all in ms, numbers or arrays."""
    return density * (1 - np.exp(-tr / t1)) * np.exp(-te / t2)


def flair(t1, t2, density, *, tr, te, ti):
    """The signal of a T2w FLAIR; all in ms, numbers or arrays."""
    return density * np.abs(1 - 2 * np.exp(-ti / t1) + np.exp(-tr / t1)) * np.exp(-te / t2)


def mprage(t1, density, *, tr, ti, flip):
    """The signal of an MPRAGE: `tr` from inversion to inversion, `ti` to the readout's middle, ms; `flip` degrees."""
    before = ti - PULSES / 2 * SPACING_MS  # the inversion to the first pulse
    after = tr - before - PULSES * SPACING_MS
    recovers, keeps, rests = (np.exp(-time / t1) for time in (before, SPACING_MS, after))
    left = keeps * np.cos(np.radians(flip))  # of M, after one pulse and the pause that follows

    def read(m, pulses):
        return left**pulses * m + (1 - keeps) * (1 - left**pulses) / (1 - left)

    # M is the same before every inversion: M = 1 - rests + rests read(1 - recovers - recovers M), linear in M
    m = (1 - rests + rests * read(1 - recovers, PULSES)) / (1 + rests * left**PULSES * recovers)
    return density * np.sin(np.radians(flip)) * np.abs(read(1 - recovers - recovers * m, PULSES / 2))
