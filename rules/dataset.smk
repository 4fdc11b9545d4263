rule assign_splits:
    input:
        cohort="cohort.csv",
        parameters=lambda wildcards: noted("splits", SPLITS),
    output:
        splits=report("splits.csv", caption="captions/splits.rst", category="Tables"),
    log:
        "logs/assign_splits.log",
    localrule: True
    conda:
        "../envs/select.yaml"
    params:
        splits=SPLITS,
        given="--given" if config["columns"]["split"] else "",
        key=SEEN["privacy"]["key_file"] or "",
    shell:
        command(
            'python3 "$CT_COHORT"/assign_splits.py {input.cohort:q} --splits {params.splits:q} '
            "{params.given} --key-file={params.key:q} --output {output.splits:q} > {log:q} 2>&1"
        )


rule write_manifest:
    input:
        accessions="accessions.txt",
        cohort="cohort.csv",
        series="series.csv",
        splits="splits.csv",
        volumes=selected_volumes,
        chunked=manifest_chunked,
        reviews=existing(config["reviews"]),
        noted=noted_reviews,
    output:
        manifest=report("manifest.csv", caption="captions/manifest.rst", category="Tables"),
    log:
        "logs/write_manifest.log",
    localrule: True
    conda:
        "../envs/select.yaml"
    params:
        key=SEEN["privacy"]["key_file"] or "",
    shell:
        command(
            'python3 "$CT_COHORT"/write_manifest.py {input.accessions:q} --key-file={params.key:q} '
            "--reviews={input.reviews:q} --output {output.manifest:q} > {log:q} 2>&1"
        )
