# Commands rather than steps; the Makefile calls them with --nolock, because Snakemake's lock does not
# protect what no rule makes. They refuse while a run is under way.
localrules:
    prune,
    purge,


rule prune:
    log:
        "logs/prune.log",
    conda:
        "../envs/archive.yaml"
    shell:
        'python3 "$CT_COHORT"/prune.py 2>&1 | tee {log:q}'


rule purge:
    log:
        "logs/purge.log",
    conda:
        "../envs/archive.yaml"
    params:
        exclusions=config["exclusions"] or "",
        merged_mrns=config["merged_mrns"] or "",
    shell:
        'python3 "$CT_COHORT"/purge.py --exclusions={params.exclusions:q} '
        "--merged-mrns={params.merged_mrns:q}"
