"""Raw scans to study space: registered to a template, stripped, without bias field.

In: a source that `essim.load_scans` knows. Out: a folder in the prepared layout, with a page for checking it by eye.
Imports: data, cohort.mni, figures.pictures and .style, runs; score and calibrate import this room.

    folder          all subjects of a source, in parallel; only what is missing or has changed is done
    registration    one person to study space
    brain           one scan in its own space: its brain, its bias field
    strip           a brain mask by an installed skull stripper
    align           images in mm: registered, sampled on other grids
    qc              the pictures and the page
"""
