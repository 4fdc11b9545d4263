rule select_accessions:
    input:
        reports=table("reports"),
        merged_mrns=table("merged_mrns"),
        parameters=lambda wildcards: noted(
            "select", f"{COLUMNS}{SELECT}{PARTITION}", config["reports"], config["merged_mrns"]
        ),
    output:
        accessions="accessions.txt",
        protocols="protocols.csv",
        cohort="cohort.csv",
    log:
        "logs/select_accessions.log",
    localrule: True
    conda:
        "../envs/select.yaml"
    params:
        columns=COLUMNS,
        select=SELECT,
        partition=PARTITION,
    shell:
        command(
            'python3 "$CT_COHORT"/select_accessions.py {input.reports:q} '
            "--columns {params.columns:q} --select {params.select:q} "
            "--merged-mrns={input.merged_mrns:q} --partition={params.partition:q} --accessions {output.accessions:q} "
            "--protocols {output.protocols:q} --cohort {output.cohort:q} > {log:q} 2>&1"
        )
