"""The least that Snakemake needs to plan two jobs and four outputs per scan: no logs, parameters or
resources, and nothing named twice.

    snakemake -s benchmarks/scale/bare.smk -n -q rules -c 2 --config count=36861
"""

import gc

gc.freeze()
gc.set_threshold(50_000, 20, 100)
SCANS = [f"A{number:07d}" for number in range(int(config["count"]))]


rule all:
    input:
        "manifest.csv",


rule download:
    output:
        directory("raw/{acc}"),
        "received/{acc}.json",
    shell:
        "true"


rule preprocess:
    input:
        "raw/{acc}",
        "received/{acc}.json",
    output:
        "processed/{acc}.npz",
        "processed/{acc}.json",
    shell:
        "true"


rule manifest:
    input:
        [f"processed/{scan}.npz" for scan in SCANS],
    output:
        "manifest.csv",
    shell:
        "true"
