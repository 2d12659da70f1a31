"""Moved scanners (`make shifts`): when does SSIM overtake l1? Networks of the study -> its figures and tables.

It grows patients of its own and images them with scanners moved away from the training scanners; nothing is trained. Names are
those of the Snakefile.
"""

MOVED = sorted(set(shifted(PLAN).values()))


use rule run_notebook as shift with:
    input:
        modules("13_when_ssim_overtakes_l1"),
        expand(f"{RESULTS}/reconstructions/healthy_{{contrast}}", contrast=MOVED, allow_missing=True),
        expand(
            f"{MODEL}/{{file}}",
            contrast=MOVED,
            file=["weights.safetensors", "calibration.safetensors", "scoring.json"],
            allow_missing=True,
        ),
    output:
        tables("shift_scores", "shifts", "shift_law", "shift_axes"),
        figure("shifts", "shift_law", "shift_axes"),
    log: executed("13_when_ssim_overtakes_l1")
    params: **step("13_when_ssim_overtakes_l1")
    threads: CORES


rule shifts:
    input:
        expand(rules.shift.output, part=PLAN.parts),
