"""What single notebooks need and nobody else does.

In: folders of reconstructions and their score tables, scans. Out: tables, one row a candidate, a lesion, a choice or a
head, and sentences about them.
Imports: the core, data, cohort, evaluation, methods, train.trained, runs.

    realism      how far grown heads stand out from real ones (01)
    promise      whether thresholds keep on real heads what they promise (11)
    real_heads   what is found and marked in public scans (11)
    transplants  real lesions in real healthy heads (12)
    half_real    what is found of them, beside grown and real patients, and by which network (12)
    confirm      declared claims on fresh patients, with what the study froze (14)
    conclusions  what is concluded from grown patients, and whether half-real and real ones say so too (12)
    burden       how many lesions grown and real patients have, and how large (01)
    methods      every reconstructor under every score, and what each costs (10)
    shifts       scanners moved away from the training's, and every score over how far (13)
    shift_law    when SSIM overtakes l1, and where real scans lie (13)
    ablations    one choice of the study changed, everything else as it is (ablations/)
    selection    which value of a choice the validation parts take, and what that gives (ablations/)
    anchors      the plainest scores here, as others report them, and on real patients (09)
    candidates   what a calibrated ensemble could be made of (07)
    calibrating  what the calibration's settings add, and whether its thresholds keep their promise (07)
    best_sigma   every lesion's best sigma, and models of what decides it (08)
    teaching     a patient in a second, and formulas taken apart (walkthrough/)
"""
