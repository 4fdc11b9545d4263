rule pictures:
    input:
        selected_pictures,


rule draw_scan:
    input:
        volume="processed/{acc}.npz",
        record="processed/{acc}.json",
    output:
        picture="qc/{acc}.png",
    log:
        "logs/draw_scan/{acc}.log",
    conda:
        "../envs/pictures.yaml"
    shell:
        'python3 "$CT_COHORT"/draw_scan.py {wildcards.acc:q} --volume {input.volume:q} '
        "--record {input.record:q} --output {output.picture:q} > {log:q} 2>&1"
