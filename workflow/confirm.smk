"""The confirmatory run (`make confirm`): fresh patients, frozen networks and choices -> results/confirm.

Of the study only `reconstruct` runs. What is frozen: models/<networks>_<contrast> with their calibration, and the
committed tables of the development study; what is tested: confirm.yaml. Names are those of the Snakefile.
"""

FROZEN = [f"{CONFIRM['development']}/{name}.csv" for name in CHOSEN]

if missing := [path for path in FROZEN if not Path(path).is_file()]:
    raise WorkflowError(
        f"{missing[0]}: no such file, and `make confirm` takes its choices from there: run "
        "`make reproduce PROFILE=pretrained`, then `make reference PROFILE=pretrained`."
    )


ruleorder: frozen_network > train
ruleorder: frozen_network > healthy
ruleorder: confirm_cohort > cohort


rule confirm_cohort:
    input:
        modules_behind("essim.cohort.generate"),
    output:
        STAMP,
    params:
        cohort=json.dumps(dict(PLAN.profile["cohort"])),
    threads: CORES
    shell:
        f"{shlex.quote(sys.executable)} workflow/confirm.py {shlex.quote(PLAN.data)} {{params.cohort:q}} "
        "--workers {threads}"


rule frozen_network:
    input:
        trained("weights.safetensors", "calibration.safetensors", "config.json"),
    output:
        [f"{MODEL}/{name}.safetensors" for name in ("weights", "calibration")],
        f"{MODEL}/config.json",
    shell:
        "cp {input:q} $(dirname {output[0]:q})"


use rule run_notebook as confirm with:
    input:
        modules("14_confirm"),
        FROZEN,
        CONFIRM["declaration"],
        all_sets(f"{MODEL}/calibration.safetensors", f"{RESULTS}/reconstructions/{{name}}"),
    output:
        tables("confirm", "confirm_scores", "confirm_means", "confirm_regret"),
        f"{RESULTS}/tables/confirm.md",
        figure("confirm"),
    log: executed("14_confirm")
    params: **step("14_confirm")
    threads: CORES
