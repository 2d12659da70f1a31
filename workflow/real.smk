"""Real heads (`make real`): public scans -> data/real/prepared -> results/real/{figures,tables,notebooks}.

Make calls workflow/real.py first, which finds what is missing; the first rule is for a plan before that. Of
the study only `train` and `healthy` run, on the real healthy heads. The same heads and patients are also a source of
scans, data/real/patients, which `make methods DATA=data/real/patients` takes. Names are those of the Snakefile.
"""

GROWN = sorted(path.as_posix() for path in Path().glob(f"{REAL['models']}_*/*.safetensors"))


rule fetch_real:
    output:
        "data/real/scans.csv",
    shell:
        f"{shlex.quote(sys.executable)} workflow/real.py data/real"


rule prepare_real:
    input:
        modules_behind("essim.prepare.folder"),
        scans=rules.fetch_real.output,
    output:
        STAMP,
    threads: CORES
    shell:
        f"{shlex.quote(sys.executable)} -m essim.prepare {{input.scans:q}} {shlex.quote(PLAN.data)} "
        "--voxel 2 --jobs {threads} || [ -f {output:q} ]"


use rule run_notebook as real_heads with:
    input:
        modules("11_real_heads"),
        STAMP,
        GROWN,
    output:
        tables("real_heads", "placement", folder=HOME),
        figure("placement", "patients", "score_over_sigma", "marked_in_healthy", folder=HOME),
    log: executed("11_real_heads", folder=HOME)
    params: **step("11_real_heads")


use rule run_notebook as half_real with:
    input:
        modules("12_half_real"),
        STAMP,
        GROWN,
        tables("real_heads", folder=HOME),
        [f"{HOME}/models/t1/{name}" for name in ("weights.safetensors", "calibration.safetensors", "scoring.json")],
    output:
        directory(f"{HOME}/half_real"),
        tables("real_transplants", "real_conclusions", "real_trained", "real_trained_gains", folder=HOME),
        figure("transplants", "grown_half_real", "real_trained", folder=HOME),
    log: executed("12_half_real", folder=HOME)
    params: **step("12_half_real")
    threads: CORES


rule real_patients:
    input:
        modules_behind("essim.study.real_patients"),
        STAMP,
    output:
        directory("data/real/patients"),
    params:
        asked="--val {patients_val} --test {patients_test} --seed ".format(**PLAN.profile["methods"])
        + str(PLAN.first_seed),
        masks=HALF_REAL["masks"],
    shell:
        f"{shlex.quote(sys.executable)} workflow/patients.py {shlex.quote(PLAN.data)} {{params.masks}} {{output}} "
        "{params.asked}"


OF_REAL = [rules.real_heads.output, rules.half_real.output]
