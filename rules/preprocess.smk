rule preprocess_volume:
    input:
        other_parameters,  # without a name: an empty list would cost a kilobyte per scan
        series="raw/{acc}",
        received="received/{acc}.json",
    output:
        volume="processed/{acc}.npz",
        record="processed/{acc}.json",
    log:
        "logs/preprocess_volume/{acc}.log",
    priority: 1  # before downloads: raw files do not pile up
    conda:
        "../envs/volume.yaml"
    resources:
        mem_mb=volume_memory,
    params:
        parameters=PARAMETERS,
    shell:
        command(
            'python3 "$CT_COHORT"/preprocess_volume.py {wildcards.acc:q} --raw {input.series:q} '
            "--received {input.received:q} --parameters {params.parameters:q} --keep-raw $CT_COHORT_RAW "
            "--threads {threads} --volume {output.volume:q} --record {output.record:q} "
            "> {log:q} 2>&1"
        )
