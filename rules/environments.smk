ENVIRONMENTS = ("archive", "chunked", "pictures", "select", "volume")


# `snakemake --sdm conda --conda-create-envs-only environments` makes every environment that a rule
# names. Snakemake finds only those of the jobs that it plans, and most are planned after the
# checkpoint. No report table is needed.
rule environment:
    output:
        used=temp(touch(".environments/{environment}")),
    log:
        "logs/environment/{environment}.log",
    wildcard_constraints:
        environment="|".join(ENVIRONMENTS),
    localrule: True
    conda:
        "../envs/{environment}.yaml"
    shell:
        "python3 --version > {log:q} 2>&1"


rule environments:
    input:
        expand(".environments/{environment}", environment=ENVIRONMENTS),
    localrule: True
