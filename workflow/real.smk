"""Real heads (`make real`): public scans -> data/real/prepared -> results/real/{figures,tables,notebooks}.

Make calls workflow/real.py first, which knows by itself what is missing; the first rule is for a plan before that. It
is the same whatever the profile, but for the windows. Names are those of the Snakefile.
"""

SCANS = f"{REAL['data']}/prepare.json"


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
        SCANS,
    threads: CORES
    shell:
        f"{shlex.quote(sys.executable)} -m essim.prepare {{input.scans:q}} {shlex.quote(REAL['data'])} "
        "--voxel 2 --jobs {threads} || [ -f {output:q} ]"


use rule run_notebook as real_heads with:
    input:
        modules("11_real_heads"),
        SCANS,
        sorted(path.as_posix() for path in Path().glob(f"{REAL['models']}_*/*.safetensors")),
    output:
        tables("real_heads", "placement", folder=REAL["results"]),
        figure("placement", "patients", "score_over_sigma", "marked_in_healthy", folder=REAL["results"]),
    log: executed("11_real_heads", folder=REAL["results"])
    params: **step("11_real_heads")


rule real:
    input:
        rules.real_heads.output,
