"""How good a score is: from reconstructions and anomaly maps to tables.

In: the scan table, a trained network, and *scorers*, functions from a `Case` to its anomaly maps. Out: folders of
reconstructions, and tables with one row per scan, decision or lesion.
Imports: the core, data, kernels.dispatch, runs.

    cases       reconstructions on disk, the `Case`s read from them, and the one loop over them
    scoring     every case under every score, at thresholds from the labelled validation part
    healthy     what is learned from healthy scans: the calibration, and thresholds that need no lesions
    at_best     every score with the post-processing that suits it best, beside the protocol's
    evaluate    one set of patients, every score, every threshold
    metrics     voxel by voxel: AUPRC, Dice, thresholds
    detection   lesion by lesion: sensitivity, false positives, FROC, distances between surfaces
    sites       patients against healthy controls of their site, results by site
    stats       intervals and paired tests over subjects
    summaries   means, regret, the spread over several runs, and a mean as text
    baselines   scores that need no training
"""
