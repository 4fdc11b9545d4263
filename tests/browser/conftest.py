"""A real browser, and the page of a fabricated cohort in it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from benchmarks.page.fabricate import fabricate
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from ctcohort.base.files import read_table, write_table
from ctcohort.base.workdir import Workdir
from ctcohort.page.html import write_page

PROGRAMS = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
COUNT = 300
SIZE = (1366, 768)
"""A laptop's screen."""

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name, path in PROGRAMS.items() if path is None]
    absent = pytest.mark.skip(reason=f"needs {' and '.join(missing)} (Debian's packages)")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))
            if missing:
                item.add_marker(absent)


def places(cohort: Path, status: str) -> list[int]:
    """Places in the cohort of the accessions with a status."""
    rows = enumerate(read_table(cohort / "manifest.csv"))
    return [place for place, row in rows if row["status"] == status]


@dataclass
class Page:
    """A page in the browser, and the working directory it was made from."""

    driver: Chrome
    cohort: Path
    downloads: Path

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(read_table(self.cohort / "manifest.csv"))

    def make(self) -> Page:
        """Make the page of the working directory as it is now, and open it."""
        write_page(Workdir(self.cohort), self.cohort / "reviews.csv", self.cohort / "report.html")
        return self.open((self.cohort / "report.html").as_uri())

    def edit(self, table: str, changes: dict[int, dict[str, str]]) -> None:
        """Change fields of a table's rows, by the row's place."""
        rows = list(read_table(self.cohort / table))
        for place, change in changes.items():
            rows[place] |= change
        write_table(self.cohort / table, list(rows[0]), rows)

    def open(self, address: str) -> Page:
        self.driver.get(address)
        self.wait(lambda: self.run("return document.documentElement.dataset.ready === 'true'"))
        return self

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: Any) -> Any:
        return WebDriverWait(self.driver, 60, 0.05).until(lambda _: condition())

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent)",
            selector,
        )
        return found

    def choose(self, selector: str, value: str) -> None:
        """Choose an option, as a person does by keyboard or mouse."""
        self.run(
            "const node = document.querySelector(arguments[0]); node.value = arguments[1];"
            "if (node.value !== arguments[1]) throw new Error('no such option');"
            "node.dispatchEvent(new Event('change', {bubbles: true}))",
            selector,
            value,
        )

    def click(self, selector: str) -> None:
        self.run("document.querySelector(arguments[0]).click()", selector)

    def press(self, *keys: str) -> None:
        """Type on whatever has the focus."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    @property
    def focused(self) -> str:
        """The accession of the scan that has the focus, or the id of what has it."""
        found: str = self.run(
            "const node = document.activeElement; return node.querySelector?.('.accession')"
            "?.textContent || (node.matches('.accession') && node.textContent) || node.id"
        )
        return found

    def listed(self) -> list[str]:
        """Accessions that are shown, in order, on the page of the list that is open."""
        return self.texts("#shown .scan .accession, #shown .scan.accession")

    def everything_listed(self) -> list[str]:
        """Accessions of all pages of the list."""
        found = self.listed()
        following = "#pages button[aria-label='next page']:not([disabled])"
        while self.all(following):
            self.click(following)
            found += self.listed()
        return found

    def said(self) -> list[str]:
        """What the browser wrote to its console."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def asked_for(self) -> list[str]:
        """Addresses that were requested since this was last called."""
        entries = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        return [
            entry["params"]["request"]["url"]
            for entry in entries
            if entry["method"] == "Network.requestWillBeSent"
        ]

    def media(self, kind: str = "", scheme: str = "light") -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": kind, "features": features}
        )

    def screen(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def saved(self) -> Path:
        """The file that was downloaded."""
        path = self.downloads / "reviews.csv"
        self.wait(path.exists)
        return path


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(PROGRAMS["chromium"])
    profile = tmp_path_factory.mktemp("profile")
    for argument in (*QUIET, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    temporary = {**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("chromium"))}
    service = Service(str(PROGRAMS["chromedriver"]), env=temporary)
    driver = Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def fabricated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fabricated") / "cohort"
    fabricate(folder, COUNT, whole=False)
    return folder


@pytest.fixture
def unopened(driver: Chrome, fabricated: Path, tmp_path: Path) -> Iterator[Page]:
    """A working directory of 300 accessions for this test alone, whose page is not made yet."""
    page = Page(
        driver, Path(shutil.copytree(fabricated, tmp_path / "cohort")), tmp_path / "downloads"
    )
    page.downloads.mkdir()
    page.screen(*SIZE)
    page.media()
    driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior",
        {"behavior": "allow", "downloadPath": str(page.downloads)},
    )
    (tmp_path / "empty.html").write_text("")
    driver.get((tmp_path / "empty.html").as_uri())
    page.run("localStorage.clear()")  # one for all files
    page.said()
    page.asked_for()
    yield page
    driver.get("about:blank")


@pytest.fixture
def page(unopened: Page) -> Page:
    """The page of 300 accessions, opened from its file."""
    return unopened.make()


def names(rows: Sequence[dict[str, str]]) -> list[str]:
    return [row["accession"] for row in rows]
