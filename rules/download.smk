rule download_series:
    input:
        series_table,
    output:
        series=directory("raw/{acc}"),
        received="received/{acc}.json",
    log:
        "logs/download_series/{acc}.log",
    conda:
        "../envs/archive.yaml"
    resources:
        archive_share=ARCHIVE_SHARE,
    params:
        series=chosen_series,
    shell:
        command(
            'python3 "$CT_COHORT"/download_series.py {wildcards.acc:q} {params.series:q} '
            '--archive "$CT_COHORT_ARCHIVE" --raw {output.series:q} --received {output.received:q} '
            "> {log:q} 2>&1"
        )


# all that is to be downloaded and nothing else, for one job that uses every connection
rule downloads:
    input:
        unfinished_downloads,
