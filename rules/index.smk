checkpoint index_series:
    input:
        accessions="accessions.txt",
        cohort="cohort.csv",
        exclusions=table("exclusions"),
        merged_mrns=table("merged_mrns"),
        parameters=lambda wildcards: noted(
            "index", f"{SERIES}{LIMITS}", config["exclusions"], config["merged_mrns"]
        ),
        ask_again=existing("index/ask_again.txt"),
    output:
        series="series.csv",
    log:
        "logs/index_series.log",
    conda:
        "../envs/archive.yaml"
    threads: 8
    resources:
        archive_share=ARCHIVE_SHARES,  # it uses every connection of this run
    params:
        series=SERIES,
        limits=LIMITS,
    shell:
        command(
            'python3 "$CT_COHORT"/index_series.py {input.accessions:q} {input.cohort:q} '
            "--exclusions={input.exclusions:q} --merged-mrns={input.merged_mrns:q} "
            '--archive "$CT_COHORT_ARCHIVE" --series {params.series:q} '
            "--limits {params.limits:q} --raw $CT_COHORT_RAW --threads {threads} "
            "--connections $CT_COHORT_CONNECTIONS --series-table {output.series:q} "
            "> {log:q} 2>&1"
        )


rule check_archive:
    log:
        "logs/check_archive.log",
    localrule: True
    conda:
        "../envs/archive.yaml"
    shell:
        command('python3 "$CT_COHORT"/check_archive.py 2>&1 | tee {log:q}')
