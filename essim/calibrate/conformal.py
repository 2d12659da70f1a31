"""How far a threshold from a handful of healthy scans can be trusted: split conformal prediction.

In: for each of n healthy scans the threshold that leaves a share of its voxels above. Out: one threshold for all, and
what it promises for the next scan.

Scans of different people are exchangeable, voxels are not: the voxels of one head rise and fall together, and ten
million of them from two heads say no more about a third than two numbers do. Let t_1 ... t_n be the scans' own
thresholds, and t that of a new scan, which neither network nor calibration has seen either. If all n + 1 are
exchangeable, t is as likely to be the smallest as any other of them, and

    P(t <= t_(k)) >= k / (n + 1)        t_(k): the k-th smallest of t_1 ... t_n

whatever their distribution: with this probability, at most the share of the new scan lies above t_(k). The probability
is over all draws of n scans; those at hand may be lucky or unlucky (V. Vovk, Machine Learning 92:349, 2013). No rule
gets more from n scans than n / (n + 1).
"""

import math

import numpy as np

LEVEL = 0.9  # the share of new scans that the promise is to hold for, if there are enough scans


def own_threshold(anomaly, mask, share):
    """The lowest score of a scan above which at most `share` of its brain lies.

    Args: anomaly: float [H, W, D], post-processed. mask: bool [H, W, D], the brain. share: in (0, 1).
    """
    scores = anomaly[mask]
    above = int(share * len(scores))
    return float(np.partition(scores, -1 - above)[-1 - above])


def rank_of(scans):
    """Which of the sorted thresholds of so many scans to take, from 1: the first that promises LEVEL, else the last."""
    return min(scans, math.ceil(round(LEVEL * (scans + 1), 9)))


def conformal_threshold(own):
    """The threshold for the next scan, from those of n scans (`own_threshold`)."""
    return sorted(own)[rank_of(len(own)) - 1]


def bound_of(scans):
    """The least probability with which the next scan keeps the share, from so many scans."""
    return rank_of(scans) / (scans + 1)


def promise_of(scans, nearly=False):
    """What the thresholds of so many scans promise, a sentence; `nearly`, if they made or chose the calibration."""
    text = f"From {scans} healthy scans: a new healthy one like them has at most the promised share of its brain above"
    text += f" the threshold with a probability of {bound_of(scans):.0%} or more ({rank_of(scans)} of {scans + 1})"
    text += "; this holds only approximately, since the same scans made or chose the calibration" if nearly else ""
    return f"{text}; for a scan unlike them, no share is promised."
