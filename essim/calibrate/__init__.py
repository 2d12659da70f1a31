"""Your own thresholds: from a few healthy scans of one scanner to thresholds that hold for it.

In: healthy scans, raw or in study space, and a model folder. Out: another model folder, which score takes.
Imports: core, data, evaluation, prepare, runs, score; no other room imports this one.

    own          from the scans to the model folder
    conformal    how far a threshold from n scans can be trusted
"""
