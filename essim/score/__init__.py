"""Your own scan: an anomaly map on its own grid, a picture, a page, and reasons to doubt them.

In: a scan as it comes from the scanner, its brain mask, a model folder. Out: a folder of results.
Imports: core, data, cohort, prepare, figures, runs; calibrate imports this room, for the recipe of a model folder.

    scan       all of it in one call: check, place, compare, bring back, measure, write
    recipe     which network, how the scan is placed and scored, which threshold
    batch      a table of scans, in parallel; only what is missing or has changed is done
    native     native space, the grid of the scan's own file: volumes brought back, measured, saved
    regions    which part of the brain a voxel lies in
    doubts     reasons to doubt the result, in numbers and sentences
    self_test  what would have been found: lesions of known size, planted in the scan
    viewer     the overview of a scan, a figure
    page       the page of a scan, which any browser opens from disk
    index      the page over many scans
"""
