rule pictures:
    input:
        selected(PICTURE),


rule scrolls:
    input:
        selected(SCROLL),


rule draw_scan:
    input:
        volume=made(VOLUME),
        record=made(RECORD),
    output:
        picture=report(
            "qc/{acc}.png",
            caption="captions/picture.rst",
            category="Pictures",
            labels={"accession": "{acc}"},
        ),
        thumbnail="qc/thumbnails/{acc}.webp",
    log:
        "logs/draw_scan/{acc}.log",
    conda:
        "../envs/pictures.yaml"
    resources:
        mem_mb=volume_memory,
    shell:
        command(
            'python3 "$CT_COHORT"/draw_scan.py {wildcards.acc:q} --volume {input.volume:q} '
            "--record {input.record:q} --picture {output.picture:q} --thumbnail {output.thumbnail:q} "
            "> {log:q} 2>&1"
        )


rule draw_scroll:
    input:
        volume=made(VOLUME),
        record=made(RECORD),
    output:
        scroll="qc/scrolls/{acc}.webp",
    log:
        "logs/draw_scroll/{acc}.log",
    conda:
        "../envs/pictures.yaml"
    resources:
        mem_mb=volume_memory,
    shell:
        command(
            'python3 "$CT_COHORT"/draw_scan.py {wildcards.acc:q} --volume {input.volume:q} '
            "--scroll {output.scroll:q} > {log:q} 2>&1"
        )
