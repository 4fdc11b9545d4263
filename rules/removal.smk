# Commands rather than steps; the Makefile calls them with --nolock, because Snakemake's lock does not
# protect what no rule makes. They refuse while a run is under way.
rule prune:
    log:
        "logs/prune.log",
    localrule: True
    conda:
        "../envs/archive.yaml"
    shell:
        command('python3 "$CT_COHORT"/prune.py 2>&1 | tee {log:q}')


rule purge:
    log:
        "logs/purge.log",
    localrule: True
    conda:
        "../envs/archive.yaml"
    params:
        exclusions=SEEN["exclusions"] or "",
        merged_mrns=SEEN["merged_mrns"] or "",
    shell:
        command(
            'python3 "$CT_COHORT"/purge.py --exclusions={params.exclusions:q} '
            "--merged-mrns={params.merged_mrns:q}"
        )
