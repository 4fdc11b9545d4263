"""report.html in a real browser."""

from __future__ import annotations

import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from selenium.webdriver.common.keys import Keys

from ctcohort.cohort.reviews import Review, read_reviews

from .conftest import COUNT, Page, names, places

HOSTILE = (
    '</script><img src=x onerror="window.hit=1">',
    "<script>window.hit=1</script>",
    "'\"><svg/onload=window.hit=1>",
    "<!--<script>{{data}}",
)


def number(text: str) -> int:
    return int(re.sub(r"[^0-9]", "", text))


@dataclass
class Server:
    """A web server, and what it was asked for."""

    root: str
    seen: list[str]


@pytest.fixture
def server(page: Page) -> Iterator[Server]:
    """The working directory of the page, served."""
    seen = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            seen.append(self.path)

    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(page.cohort))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Server(f"http://127.0.0.1:{server.server_port}", seen)
        page.driver.get("about:blank")
        server.shutdown()
        thread.join()


# It loads


def test_it_opens_without_a_word_on_the_console(page: Page) -> None:
    assert page.said() == []
    assert page.run("return document.title").startswith("CT volumes")
    assert page.all("#shown .scan")


def test_no_request_leaves_it(page: Page) -> None:
    page.click("#shown .scan")
    page.press(Keys.ARROW_RIGHT, Keys.ESCAPE)
    page.choose("#view", "list")
    asked = page.asked_for()
    assert asked[0].startswith("file:")
    assert {address.split(":")[0] for address in asked} <= {"file", "data"}


def test_a_server_is_asked_for_the_page_and_the_pictures_beside_it(
    page: Page, server: Server
) -> None:
    first = page.listed()[0]
    page.open(f"{server.root}/report.html")
    page.click("#shown .scan")
    page.press(Keys.ARROW_RIGHT, "g", Keys.ESCAPE)
    assert server.seen == ["/report.html"]
    page.run(
        "document.body.append(Object.assign(new Image(), {src: arguments[0], id: 'beside'}))",
        f"qc/thumbnails/{first}.webp",
    )
    page.wait(lambda: page.run("return document.getElementById('beside').naturalWidth > 0"))
    assert server.seen == ["/report.html", f"/qc/thumbnails/{first}.webp"]


def test_its_policy_stops_what_it_was_not_made_with(page: Page, server: Server) -> None:
    page.run(
        "const script = document.createElement('script'); script.textContent = 'window.hit = 1';"
        "document.body.append(script);"
        "const image = document.createElement('img'); image.id = 'beacon';"
        "image.onerror = () => { window.refused = (window.refused || 0) + 1 };"
        "image.src = `${arguments[0]}/x.png`; document.body.append(image);"
        "fetch(arguments[0]).catch(() => { window.refused = (window.refused || 0) + 1 })",
        server.root,
    )
    page.wait(lambda: page.run("return window.refused === 2"))
    assert page.run("return window.hit") is None
    assert sum("Content Security Policy" in line for line in page.said()) >= 3
    assert server.seen == []


def test_hostile_texts_do_nothing_and_are_shown_as_they_are(unopened: Page) -> None:
    chosen = places(unopened.cohort, "included")[: len(HOSTILE)]
    hostile = dict(zip(chosen, HOSTILE, strict=True))
    unopened.edit(
        "manifest.csv",
        {
            place: {"accession": text, "manufacturer": text, "convolution_kernel": text,
                    "model": text, "split": text, "nodule": text[:24], "z_error_mm": "99"}
            for place, text in hostile.items()
        },
    )  # fmt: skip
    unopened.edit("cohort.csv", {place: {"accession": text} for place, text in hostile.items()})
    page = unopened.make()
    assert set(page.listed()[: len(HOSTILE)]) == set(HOSTILE)
    for _ in HOSTILE:
        page.run("document.querySelector('#shown .scan').focus()")
        page.press(Keys.ENTER)
        assert page.text("#viewer-title") in HOSTILE
        page.press("g", Keys.ESCAPE)
    page.choose("#view", "list")
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.run("return window.hit") is None
    assert page.said() == []
    assert page.run("return document.querySelectorAll('img[src=x], svg').length") == 0
    assert page.run("return document.scripts.length") == 4


# Counts


def test_the_counts_are_the_manifests(page: Page) -> None:
    status = Counter(row["status"] for row in page.rows)
    headline = page.text("#headline")
    assert headline == f"{status['included']} of {COUNT} scans became volumes."
    assert page.text("#count") == f"{status['included']} of {COUNT} accessions"
    shown = dict(zip(page.texts("#figures dt"), page.texts("#figures dd"), strict=True))
    assert number(shown["volumes"]) == status["included"]
    slices = sum(int(r["orig_numslices"]) for r in page.rows if r["status"] == "included")
    assert number(shown["source slices"]) == slices
    assert number(page.texts("#flow-steps .last .number")[0]) == status["included"]


def test_every_reason_opens_the_list_of_its_accessions(page: Page) -> None:
    page.choose("#view", "list")
    reasons = Counter(row["status_reason"] for row in page.rows if row["status"] == "excluded")
    assert len(reasons) >= 3
    for at in range(len(page.all(".lost button"))):
        label = page.texts(".lost button")[at]
        page.run("document.querySelectorAll('.lost button')[arguments[0]].click()", at)
        amount, reason = label.split(" ")
        assert number(amount) == reasons.pop(reason)
        wanted = [row["accession"] for row in page.rows if row["status_reason"] == reason]
        assert page.everything_listed() == wanted
    assert not reasons


def test_every_step_opens_the_list_of_what_has_passed_it(page: Page) -> None:
    page.choose("#view", "list")
    buttons = page.texts("#flow-steps .number button")
    for at, text in enumerate(buttons):
        page.run(
            "document.querySelectorAll('#flow-steps .number button')[arguments[0]].click()", at
        )
        assert number(page.text("#count").split(" of ")[0]) == number(text)
    assert number(buttons[0]) == COUNT
    included = {row["accession"] for row in page.rows if row["status"] == "included"}
    assert set(page.everything_listed()) == included


def test_the_bars_of_a_distribution_count_every_volume_once(page: Page) -> None:
    groups = page.run(
        "return [...document.querySelectorAll('#charts [data-group]')].map((group) =>"
        " [...group.querySelectorAll('.bin')].map((bin) => bin.title))"
    )
    included = sum(row["status"] == "included" for row in page.rows)
    assert len(groups) >= 15
    for titles in groups:
        amounts = [number(title.rsplit(": ", 1)[1]) for title in titles]
        rest = page.texts(".rows + .about") if len(titles) == 8 else []
        assert sum(amounts) == included or rest


# Filter, search, sort


def test_the_search_finds_accessions_and_words(page: Page) -> None:
    page.choose("#view", "list")
    wanted = page.rows[7]["accession"]
    page.one("#search").send_keys(wanted)
    page.wait(lambda: page.listed() == [wanted])
    page.one("#search").clear()
    page.one("#search").send_keys("toshiba")
    toshiba = [row["accession"] for row in page.rows if row["manufacturer"] == "TOSHIBA"]
    page.wait(lambda: sorted(page.everything_listed()) == sorted(toshiba))
    page.one("#search").send_keys(" or nothing")
    page.wait(lambda: page.text("#shown") == "No accession matches these filters.")


@pytest.mark.parametrize(
    ("select", "column"),
    [("split", "split"), ("manufacturer", "manufacturer"), ("convolution_kernel",) * 2],
)
def test_a_filter_leaves_just_what_it_names(page: Page, select: str, column: str) -> None:
    page.choose("#view", "list")
    volumes = [row for row in page.rows if row["status"] == "included"]
    value = Counter(row[column] for row in volumes).most_common()[-1][0]
    page.choose(f"[data-word={select}]", f"={value}")
    wanted = [row["accession"] for row in volumes if row[column] == value]
    assert sorted(page.everything_listed()) == sorted(wanted)
    page.click("#chips li:last-child button")  # remove all
    assert page.text("#count") == f"{COUNT} of {COUNT} accessions"


def test_filters_add_up_and_a_chip_takes_one_away(page: Page) -> None:
    page.choose("#view", "list")
    page.choose("[data-word=split]", "=train")
    page.choose("#flag", "*")
    rows = [row for row in page.rows if row["split"] == "train" and row["flags"]]
    assert sorted(page.everything_listed()) == sorted(names(rows))
    page.click("#chips li:nth-child(2) button")
    assert [text[:-2] for text in page.texts("#chips li")] == [
        "Status: included",
        "any flag",
        "remove a",
    ]
    rows = [row for row in page.rows if row["flags"]]
    assert sorted(page.everything_listed()) == sorted(names(rows))


def test_a_bar_filters_the_list(page: Page) -> None:
    page.choose("#view", "list")
    page.click("#charts .chart .bin")
    (chip,) = [text for text in page.texts("#chips li") if text.startswith("Slice spacing")]
    value = float(re.findall(r"[0-9.]+", chip)[0])
    rows = [row for row in page.rows if row["orig_zdiff"] and float(row["orig_zdiff"]) == value]
    assert sorted(page.everything_listed()) == sorted(names(rows))
    page.click("#charts .chart .bin")
    assert not [text for text in page.texts("#chips li") if text.startswith("Slice spacing")]


@pytest.mark.parametrize("column", ["orig_numslices", "z_error_mm", "air_peak_hu", "npz_bytes"])
def test_a_sort_sorts(page: Page, column: str) -> None:
    page.choose("#view", "list")
    values = {r["accession"]: float(r[column]) for r in page.rows if r["status"] == "included"}
    page.choose("#sort", column)
    falling = [values[name] for name in page.everything_listed()]
    page.choose("#order", "up")
    rising = [values[name] for name in page.everything_listed()]
    digits = -5 if column == "npz_bytes" else 3
    assert [round(v, digits) for v in falling] == sorted(
        (round(v, digits) for v in values.values()), reverse=True
    )
    assert sorted(rising) == sorted(falling)
    assert [round(v, digits) for v in rising] == sorted(round(v, digits) for v in values.values())


def test_the_oddest_come_first(page: Page) -> None:
    page.choose("#view", "list")
    odd = [float(text) for text in page.texts("#shown td:nth-last-child(3)")]
    assert odd == sorted(odd, reverse=True)
    assert odd[0] > odd[-1]
    assert page.texts("#first-cards .accession") == page.listed()[:5]


# By keyboard


def test_scans_are_reached_opened_and_left_by_keys_alone(page: Page) -> None:
    page.press("/")
    assert page.focused == "search"
    first, second, *_ = page.listed()
    for _ in range(40):
        page.press(Keys.TAB)
        if page.focused == first:
            break
    assert page.focused == first
    page.press(Keys.ARROW_RIGHT)
    assert page.focused == second
    page.press(Keys.ARROW_DOWN)
    below = page.focused
    assert page.listed().index(below) > 3
    page.press(Keys.ARROW_UP, Keys.ENTER)
    assert page.text("#viewer-title") == second
    page.press(Keys.ARROW_RIGHT)
    assert page.text("#viewer-title") == page.listed()[2]
    page.press(Keys.ESCAPE)
    page.wait(lambda: page.focused == page.listed()[2])
    page.press(Keys.END)
    last = page.listed()[-1]
    assert page.focused == last
    page.press(Keys.ARROW_RIGHT)
    assert "49" in page.text("#pages")
    page.press(Keys.ARROW_LEFT)
    assert page.focused == last


def test_a_distribution_is_one_stop_with_arrows_inside(page: Page) -> None:
    group = "#charts [data-group]"
    assert page.run(f"return document.querySelectorAll('{group}:first-of-type [tabindex=\"0\"]')")
    stops = page.run(
        f"return [...document.querySelectorAll('{group}')].map((group) =>"
        " group.querySelectorAll('[tabindex=\"0\"]').length)"
    )
    assert set(stops) == {1}
    page.run(f"document.querySelector('{group} .bin').focus()")
    page.press(Keys.ARROW_RIGHT, Keys.ENTER)
    assert page.run(f"return document.querySelectorAll('{group} [aria-pressed=true]').length") == 1
    assert len(page.texts("#chips li")) == 3


def test_every_control_has_a_name(page: Page) -> None:
    nameless = page.run(
        "return [...document.querySelectorAll('button, input, select, img')].filter((node) =>"
        " !(node.textContent.trim() && node.tagName === 'BUTTON') && !node.labels?.length &&"
        " !node.getAttribute('aria-label') && node.tagName !== 'IMG').map((n) => n.outerHTML)"
    )
    assert nameless == []


# Reviews


def test_a_scan_is_reviewed_by_keys_and_the_browser_keeps_it(page: Page) -> None:
    first, second, third, *_ = page.listed()
    page.run("document.querySelector('#shown .scan').focus()")
    page.press("g", Keys.ARROW_RIGHT, "b", Keys.ARROW_RIGHT, "g", "u")
    assert page.texts("#shown .mark")[:3] == ["good", "bad", ""]
    assert page.text("#unsaved") == "2 reviews not saved"
    page.driver.refresh()
    page.wait(lambda: page.text("#unsaved") == "2 reviews not saved")
    marks = dict(zip(page.listed(), page.texts("#shown .mark"), strict=True))
    assert (marks[first], marks[second], marks[third]) == ("good", "bad", "")


def test_the_viewer_goes_on_to_the_next_scan_after_a_verdict(page: Page) -> None:
    first, second, *_ = page.listed()
    page.click("#shown .scan")
    page.press("b")
    assert page.text("#viewer-title") == second
    page.press(Keys.ARROW_LEFT)
    assert page.text("#viewer-title") == first
    assert page.one("#mark-bad").get_attribute("aria-pressed") == "true"


def test_saved_reviews_are_what_the_next_run_reads(page: Page) -> None:
    first, second, third, *_ = page.listed()
    page.click("#shown .scan")
    note = 'moved, "twice";  #1'
    page.one("#note").send_keys(note, Keys.ENTER)
    assert page.text("#unsaved") == ""  # a note alone is no review
    page.press("b", "g", "g", Keys.ARROW_LEFT, "u", Keys.ESCAPE)
    assert page.text("#unsaved") == "2 reviews not saved"
    page.click("#save")
    assert read_reviews(page.saved()) == {first: Review("bad", note), second: Review("good")}
    page.wait(lambda: page.text("#unsaved") == "")
    shutil.move(page.saved(), page.cohort / "reviews.csv")
    page.make()
    marks = dict(zip(page.listed(), page.texts("#shown .mark"), strict=True))
    assert (marks[first], marks[second], marks[third]) == ("bad", "good", "")
    assert page.texts("#first-cards .accession")[0] == third
    assert "moved" not in page.run("return document.documentElement.outerHTML")


def test_saving_again_keeps_what_the_page_was_made_with(unopened: Page) -> None:
    one, two = (unopened.rows[place]["accession"] for place in (3, 4))
    (unopened.cohort / "reviews.csv").write_text(f"accession,verdict\n{one},good\n{two},bad\n")
    page = unopened.make()
    page.one("#search").send_keys(two)
    page.wait(lambda: page.listed() == [two])
    page.run("document.querySelector('#shown .scan').focus()")
    page.press("u")
    page.click("#save")
    assert read_reviews(page.saved()) == {one: Review("good")}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_notes_and_other_rows_of_the_file_are_kept(unopened: Page, delimiter: str) -> None:
    one, two, three = (unopened.rows[place]["accession"] for place in (3, 4, 5))
    lines = [
        ("accession", "verdict", "who", "note"),
        (one, "good", "me", '"two lines,\nand ""quotes"""'),
        (two, "bad", "", 'hearsay of "two"'),
        ("ELSEWHERE", "bad", "you", "another cohort's"),
    ]
    table = unopened.cohort / "reviews.csv"
    table.write_text("\ufeff" + "\r\n".join(delimiter.join(line) for line in lines) + "\r\n")
    before = read_reviews(table)
    page = unopened.make()
    assert "hearsay" not in page.run("return document.documentElement.outerHTML")
    for name in (two, three):
        page.one("#search").clear()
        page.one("#search").send_keys(name)
        page.wait(lambda name=name: page.listed() == [name])
        page.run("document.querySelector('#shown .scan').focus()")
        page.press("g")
    page.click("#save")
    assert page.one("#merge").is_displayed()
    page.one("#merge-file").send_keys(str(page.cohort / "manifest.csv"))
    page.wait(lambda: "no column verdict" in page.text("#merge-error"))
    page.one("#merge-file").send_keys(str(table))
    assert read_reviews(page.saved()) == {
        **before,
        two: Review("good", 'hearsay of "two"'),
        three: Review("good"),
    }
    assert "you" in page.saved().read_text()


def test_hostile_accessions_survive_the_round_trip(unopened: Page) -> None:
    texts = ['a,b"c', "#not a comment", "a;b|c", "<b>&amp;</b>", "'=1+1"]
    chosen = places(unopened.cohort, "included")[: len(texts)]
    pairs = list(zip(chosen, texts, strict=True))
    unopened.edit("manifest.csv", {p: {"accession": t, "z_error_mm": "99"} for p, t in pairs})
    unopened.edit("cohort.csv", {place: {"accession": text} for place, text in pairs})
    page = unopened.make()
    for at in range(len(texts)):
        page.run("document.querySelectorAll('#shown .scan')[arguments[0]].focus()", at)
        page.press("b")
    page.click("#save")
    assert read_reviews(page.saved()) == {text: Review("bad") for text in texts}


def test_a_browser_that_keeps_nothing_is_coped_with(unopened: Page) -> None:
    script = unopened.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument",
        {
            "source": "Object.defineProperty(window, 'localStorage',"
            " {get() { throw new DOMException('no', 'SecurityError') }})"
        },
    )
    try:
        page = unopened.make()
        first = page.listed()[0]
        page.run("document.querySelector('#shown .scan').focus()")
        page.press("g")
        page.click("#help-open")
        assert "keeps nothing" in page.text("#help-storage")
        page.press(Keys.ESCAPE)
        page.click("#save")
        assert read_reviews(page.saved()) == {first: Review("good")}
        assert page.said() == []
    finally:
        unopened.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


# Pictures


def test_a_picture_is_shown_from_the_page_itself(page: Page) -> None:
    assert page.run(
        "return [...document.querySelectorAll('#shown .frame img')].every((image) =>"
        " image.complete && image.naturalWidth === 258 && image.src.startsWith('data:'))"
    )


def test_pictures_that_are_not_there_are_said(
    unopened: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctcohort.page.html.PAGE_BYTES", 0)
    name = unopened.rows[places(unopened.cohort, "included")[0]]["accession"]
    page = unopened.make()
    assert page.run("return document.querySelectorAll('#shown img[loading=lazy]').length") > 10
    page.run("document.getElementById('scans').scrollIntoView()")
    page.wait(
        lambda: page.run(
            "const image = document.querySelector('#shown .frame img');"
            "return image.complete && image.naturalWidth === 258"
        )
    )
    (page.cohort / "qc" / f"{name}.png").write_bytes(b"")
    page.make()
    shutil.rmtree(page.cohort / "qc")
    page.driver.refresh()
    page.run("document.getElementById('scans').scrollIntoView()")
    page.wait(lambda: "picture not beside this page" in page.texts("#shown .absent"))
    page.one("#search").send_keys(name)
    page.wait(lambda: page.listed() == [name])
    page.click("#shown .scan")
    page.wait(lambda: "is not beside this page" in page.text("#viewer-note"))
    page.press(Keys.ESCAPE)
    page.make()
    assert set(page.texts("#shown .absent")) == {"picture not made yet"}


# How it looks


@pytest.mark.parametrize("width", [1366, 2200, 700])
def test_nothing_stands_out_at_the_side(page: Page, width: int) -> None:
    page.screen(width, 768)
    assert page.run("return document.documentElement.scrollWidth") <= width


def luminance(colour: str) -> float:
    parts = [int(value) / 255 for value in re.findall(r"[0-9]+", colour)[:3]]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_in_light_and_in_dark(page: Page, scheme: str) -> None:
    page.media(scheme=scheme)
    colours = page.run(
        "return ['body', '.lead', '.about', '.flagword', '.flagword.said', '.card .why'].map("
        "(selector) => { const node = document.querySelector(selector); let ground = node;"
        " while (getComputedStyle(ground).backgroundColor.match(/, 0[)]$/)) "
        "ground = ground.parentElement;"
        " return [getComputedStyle(node).color, getComputedStyle(ground).backgroundColor] })"
    )
    paper = luminance(colours[0][1])
    assert paper > 0.8 if scheme == "light" else paper < 0.05
    for ink, ground in colours:
        if not ground.startswith("rgb"):
            continue  # a mixed colour, of nearly the paper's own
        low, high = sorted((luminance(ink), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


def test_on_paper_there_are_lists_and_no_controls(page: Page) -> None:
    page.choose("[data-word=split]", "=val")
    rows = [r for r in page.rows if r["split"] == "val" and r["status"] == "included"]
    page.media("print", "dark")
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert sorted(page.texts("#printed .accession")) == sorted(names(rows))
    assert page.one("#printed").is_displayed()
    for hidden in ("nav", ".tools", "#shown", ".found"):
        assert not page.one(hidden).is_displayed()
    assert luminance(page.run("return getComputedStyle(document.body).backgroundColor")) == 1
    page.run("dispatchEvent(new Event('afterprint'))")
    assert page.texts("#printed .accession") == []


def test_it_prints(page: Page) -> None:
    page.choose("[data-word=split]", "=val")
    printed = page.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    assert len(printed["data"]) > 10_000
    assert page.texts("#printed .accession") == []  # put away again
