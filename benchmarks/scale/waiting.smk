# snakemake -s benchmarks/scale/waiting.smk -c 2 -q all --scheduler greedy --scheduler-subsample 500 --config count=1000
import os, threading, time

def report():
    while not time.sleep(20):
        print(len(os.listdir("made")), "made;", threading.active_count(), "threads;", time.process_time(), "CPU s", flush=True)

rule all:
    input: [f"made/{number}" for number in range(int(config["count"]))]

rule one:
    output: "made/{number}"
    shell: "sleep 0.1; touch {output}"

onstart:
    threading.Thread(target=report, daemon=True).start()
