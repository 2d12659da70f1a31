"""Figures: the study's tables and slices drawn, one function per figure.

In: tables of essim.evaluation and essim.study, slices of volumes. Out: matplotlib Figures; `plot_...` draws curves,
bars and tables, `show_...` slices. `essim.runs.provenance.save_figure` writes them.
Imports: evaluation. From this room prepare and score use pictures and style.

    style        colours, names of sets, one style per method, shared helpers
    pictures     slices in a grid: scans, reconstructions, maps, what a threshold marks
    training     losses, and what longer training gains (02, 05, 99)
    sigma        the score over sigma, the paper's main figure (04, 99)
    summary      regret, and the spread over several runs (05, 98, 99)
    evaluation   precision, thresholds, patients, false alarms (06, 09)
    calibration  the calibrated ensemble (07)
    confirm      the confirmatory run (14)
    realism      grown heads beside real ones (01)
    real_heads   public scans: their alignment, and what is marked in them (11)
    lesions      their sizes, and the best sigma of each (01, 08)
    transplants  real lesions in real healthy heads, and what is found of them (12)
    shifts       scores against how far a scanner is moved, and the law (13)
    methods      the field's reconstructors and scores, and detection over cost (10)
    ablations    a choice and its alternatives (ablations/)
    speed        the benchmark of the score (99)
    teaching     strips that follow a slider, and curves (walkthrough/)
"""
