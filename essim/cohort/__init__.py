"""Heads that are grown: brains from a template, lesions with exact masks, scanners that see them.

In: a seed and how many. Out: a prepared folder, as of real scans; anybody can grow the same one.
Imports: runs, data.prepared. Of this room prepare takes the template (mni), score the planting.

    mni        the MNI152 brain as maps, and the study grid
    fields     random smooth fields
    tissues    real people's brains as such maps
    anatomy    a healthy head
    folds      the sulci and folia of one's own
    nuisance   vessels, membranes, plexus, iron
    lesions    a patient: tumour, stroke, MS, white-matter hyperintensities
    planting   a lesion into a given head, grown or real
    contrast   signal equations and relaxation times
    scanner    what T1w, T2w and FLAIR show of it
    generate   who is in which set, and their files
"""
