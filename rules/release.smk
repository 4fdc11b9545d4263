MAY_IDENTIFY = [
    SEEN["exclusions"],
    SEEN["merged_mrns"],
    SEEN["archive"]["folder"]["path"] if SEEN["archive"]["kind"] == "folder" else None,
    SEEN["archive"]["dicomweb"]["credentials"],
    SEEN["privacy"]["key_file"],
    SEEN["release"]["key_table"],
]
"""What may hold identifiers beside the report table, cohort.csv and raw/."""


# Commands, not files: they look at what is there whenever they are asked for, and change only what
# has to change.


rule release:
    input:
        manifest="manifest.csv",
        reviews=existing(config["reviews"]),
    log:
        "logs/release.log",
    conda:
        "../envs/archive.yaml"
    threads: 8
    resources:
        mem_mb=6000,  # the tables of a large cohort, or a volume for each thread
    params:
        rules=canonical(SEEN["release"]),
        columns=COLUMNS,
        key=SEEN["privacy"]["key_file"] or "",
        reports=SEEN["reports"],
        reviews=SEEN["reviews"],
    shell:
        command(
            'python3 "$CT_COHORT"/release.py --rules {params.rules:q} --key-file={params.key:q} '
            "--reports {params.reports:q} --columns {params.columns:q} --reviews {params.reviews:q} "
            "--threads {threads} 2>&1 | tee {log:q}"
        )


rule guard:
    log:
        "logs/guard.log",
    conda:
        "../envs/archive.yaml"
    threads: 8
    resources:
        mem_mb=6000,
    params:
        columns=COLUMNS,
        reports=SEEN["reports"],
        leave=json.dumps(MAY_IDENTIFY),
        words=str(Path(snakemake.__file__).parent),
    shell:
        command(
            'python3 "$CT_COHORT"/guard.py --reports {params.reports:q} --columns {params.columns:q} '
            "--leave {params.leave:q} --words {params.words:q} --threads {threads} 2>&1 | tee {log:q}"
        )


rule nifti:
    input:
        selected(NIFTI),


rule export_nifti:
    input:
        volume=made(VOLUME),
    output:
        nifti="nifti/{acc}.nii.gz",
    log:
        "logs/export_nifti/{acc}.log",
    conda:
        "../envs/volume.yaml"
    resources:
        mem_mb=volume_memory,
    shell:
        command(
            'python3 "$CT_COHORT"/export_nifti.py {input.volume:q} {output.nifti:q} > {log:q} 2>&1'
        )


rule chunked:
    input:
        selected(CHUNKED),
        "manifest.csv",


rule export_chunked:
    input:
        volume=made(VOLUME),
    output:
        chunked="chunked/{acc}.b2nd",
    log:
        "logs/export_chunked/{acc}.log",
    conda:
        "../envs/chunked.yaml"
    resources:
        mem_mb=volume_memory,
    shell:
        command(
            'python3 "$CT_COHORT"/export_chunked.py {input.volume:q} {output.chunked:q} > {log:q} 2>&1'
        )
