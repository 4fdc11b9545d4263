rule report_page:
    input:
        manifest="manifest.csv",
        series="series.csv",
        splits="splits.csv",
        cohort="cohort.csv",
        protocols="protocols.csv",
        pictures=selected(PICTURE),
        thumbnails=selected(THUMBNAIL),
        reviews=existing(config["reviews"]),
    output:
        page=report("report.html", caption="captions/page.rst", category="The data set"),
    log:
        "logs/report_page.log",
    localrule: True
    conda:
        "../envs/select.yaml"
    params:
        reviews=SEEN["reviews"],
    shell:
        command(
            'python3 "$CT_COHORT"/write_report.py --reviews {params.reviews:q} '
            "--output {output.page:q} > {log:q} 2>&1"
        )
