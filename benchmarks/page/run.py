"""What the page of N accessions costs: making it, its size, and opening it in Chromium.

    python -m benchmarks.page.run 1000 36861 --table benchmarks/page/results.md

The working directory is fabricated: manifest rows with lists of slice positions as long as real
ones, six series per accession, a thumbnail for every volume. Chromium starts with an empty profile
and opens the file; "drawn" is when the script has drawn the whole page, "painted" when the browser
has shown it, "filtered" what choosing a filter takes until the next frame. Each is the middle of
three.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from benchmarks.page.fabricate import fabricate
from ctcohort.base.files import read_table

REPOSITORY = Path(__file__).parents[2]

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
LIMIT_SECONDS, LIMIT_BYTES = 5.0, 30_000_000
"""What opening may take, and how large the page may be, at any number of accessions."""
TIMES = 3

FILTER = """
const done = arguments[arguments.length - 1], start = performance.now();
const select = document.querySelector('[data-word=split]');
select.value = '=test';
select.dispatchEvent(new Event('change', {bubbles: true}));
requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
"""

OPENED = """
const paint = performance.getEntriesByName('first-contentful-paint')[0];
return [performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd, paint.startTime,
        performance.memory.usedJSHeapSize, document.getElementById('count').textContent];
"""

HEADER = """\
| accessions | make: CPU s | make: peak MB | page MB | thumbnails in it | opened s |\
 first paint s | filtered s | script heap MB |
|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Opened:
    """One opening of the page."""

    drawn: float
    painted: float
    filtered: float
    heap_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=int, nargs="+")
    parser.add_argument("--table", type=Path, help="write the Markdown table here too")
    parser.add_argument("--scratch", type=Path, help="where to fabricate; default: TMPDIR")
    options = parser.parse_args()
    rows, wrong = [], []
    for count in options.counts:
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            row, too_much = measure(Path(folder).resolve(), count)
        rows.append(row)
        wrong += too_much
        print("\n".join([HEADER, *rows]), flush=True)
    if options.table:
        options.table.write_text("\n".join([HEADER, *rows]) + "\n")
    sys.exit("\n".join(wrong))


def measure(folder: Path, count: int) -> tuple[str, list[str]]:
    cohort = folder / "cohort"
    # in a process of its own: the peak memory of a child is never said to be below its parent's
    fabricating = multiprocessing.Process(target=fabricate, args=(cohort, count))
    fabricating.start()
    fabricating.join()
    cpu, peak, said = make(cohort)
    page = cohort / "report.html"
    inside = said.split("thumbnails: ")[1].split(" ")[0]
    included = sum(row["status"] == "included" for row in read_table(cohort / "manifest.csv"))
    runs = [opened(page, folder / f"profile-{n}", included, count) for n in range(TIMES)]
    drawn, painted, filtered, heap = (
        statistics.median(getattr(run, name) for run in runs)
        for name in ("drawn", "painted", "filtered", "heap_mb")
    )
    size = page.stat().st_size
    row = (
        f"| {count:,} | {cpu:.1f} | {peak:.0f} | {size / 1e6:.1f} | {int(inside):,} |"
        f" {drawn:.2f} | {painted:.2f} | {filtered:.2f} | {heap:.0f} |"
    )
    too_much = []
    if max(drawn, painted) > LIMIT_SECONDS:
        too_much.append(f"{count}: opens in {max(drawn, painted):.1f} s, limit {LIMIT_SECONDS}")
    if size > LIMIT_BYTES:
        too_much.append(f"{count}: {size} bytes, limit {LIMIT_BYTES}")
    return row, too_much


def make(cohort: Path) -> tuple[float, float, str]:
    """CPU seconds, peak MB and what `write_report.py` said."""
    command = [sys.executable, str(REPOSITORY / "scripts" / "write_report.py")]
    process = subprocess.Popen(
        [*command, "--directory", str(cohort)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(said)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000, said


def opened(page: Path, profile: Path, included: int, count: int) -> Opened:
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in (*QUIET, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    driver = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        driver.get(page.as_uri())
        drawn, painted, heap, said = driver.execute_script(OPENED)
        assert said == f"{included:,} of {count:,} accessions", said
        filtered = driver.execute_async_script(FILTER)
    finally:
        driver.quit()
    return Opened(drawn / 1000, painted / 1000, filtered / 1000, heap / 1e6)


if __name__ == "__main__":
    main()
