# ct-cohort with all that it needs. Data stay outside: a working directory is mounted on /data.
#   docker build --tag ct-cohort .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/data" ct-cohort --cores 8
FROM debian:12-slim

RUN apt-get update -q \
    && apt-get install -y -q --no-install-recommends ca-certificates make python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/ct-cohort
# by itself, so that an edit of the code installs nothing again
COPY Makefile requirements.lock ./
RUN PIP_NO_CACHE_DIR=1 make env
COPY . .
RUN .venv/bin/python -m compileall -q scripts

# a user of another number than the image knows has no name and no home, and Snakemake wants both
ENV PATH="/opt/ct-cohort/.venv/bin:$PATH" LOGNAME=ct-cohort XDG_CACHE_HOME=/tmp MPLCONFIGDIR=/tmp
WORKDIR /data
ENTRYPOINT ["snakemake", "--snakefile", "/opt/ct-cohort/Snakefile"]
CMD ["--cores", "all"]
