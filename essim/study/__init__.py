"""What single notebooks need and nobody else does.

In: folders of reconstructions and their score tables. Out: tables, one row a candidate, a lesion or a choice, and
sentences about them.
Imports: the core, data, cohort, evaluation.

    ablations    one choice of the study changed, everything else as it is (ablations/)
    selection    which value of a choice the validation parts take, and what that gives (ablations/)
    candidates   what a calibrated ensemble could be made of (07)
    calibrating  what the calibration's settings add, and whether its thresholds keep their promise (07)
    best_sigma   every lesion's best sigma, and models of what decides it (08)
    teaching     a patient in a second, and formulas taken apart (walkthrough/)
"""
