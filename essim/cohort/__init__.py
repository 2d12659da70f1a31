"""Grown heads: brains from a template, lesions with exact masks, simulated scanners.

In: a seed and counts. Out: a prepared folder, like one of real scans; the same seed gives everybody the same folder.
Imports: runs, data.prepared, kernels.sampling. From this room prepare uses the template (mni), score that and the
planting.

    mni        the MNI152 brain as maps, and the study grid
    fields     random smooth fields
    tissues    real people's brains as such maps
    anatomy    a healthy head
    folds      a head's own sulci and folia
    nuisance   vessels, membranes, plexus, iron
    lesions    a patient: tumour, stroke, MS, white-matter hyperintensities
    planting   puts a lesion into a given head, grown or real
    contrast   signal equations and relaxation times
    scanner    what T1w, T2w and FLAIR show of it
    generate   who is in which set, and their files
"""
