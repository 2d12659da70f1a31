"""The study's own analyses: each module serves one notebook, or a few.

In: folders of reconstructions and their score tables, scans. Out: tables with one row per candidate, lesion, choice or
head, and sentences about them.
Imports: the core, data, cohort, evaluation, methods, train.trained, runs.

    realism      how far grown heads differ from real ones (01)
    promise      whether thresholds keep their promise on real heads (11)
    real_heads   what is found and marked in public scans (11)
    transplants  real lesions in real healthy heads (12)
    half_real    how well each network finds them, beside grown and real patients (12)
    real_patients  real lesions as a source of scans like any other (10)
    confirm      declared claims tested on fresh patients, with the study's choices frozen (14)
    conclusions  whether conclusions from grown patients hold on half-real and real ones (12)
    burden       how many lesions grown and real patients have, and how large (01)
    rebuilt      scans rebuilt by the field's reconstructors, several draws kept (10)
    methods      every reconstructor under every score, and what each costs (10)
    shifts       scanners moved step by step away from the training scanners, and every score at each step (13)
    shift_law    when SSIM overtakes l1, and where real scans lie (13)
    ablations    one choice of the study changed, everything else unchanged (ablations/)
    selection    which value the validation parts choose, and what that changes (ablations/)
    anchors      the simplest scores here, as published, and on real patients (09)
    candidates   what a calibrated ensemble could be built from (07)
    calibrating  what the calibration's settings contribute, and whether its thresholds keep their promise (07)
    best_sigma   every lesion's best sigma, and models of what determines it (08)
    teaching     a patient in a second, and formulas taken apart (walkthrough/)
"""
