"""Identifiers that must not be found (MRNs, names, birth dates, accessions), in all their
spellings.

Values are found as whole tokens: a token is a run of letters and digits, and ``12345`` is not part
of ``12345.67``. Upper and lower case are one.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from datetime import date
from itertools import combinations
from pathlib import Path
from urllib.parse import unquote_to_bytes

from ctcohort.base.naming import normal_mrn
from ctcohort.release.guard.running_text import RunningText, without_shifts

MRN, NAME, BIRTH_DATE, ACCESSION, DATE, UID = (
    "MRN",
    "patient name",
    "birth date",
    "accession",
    "date",
    "UID",
)

SHORTEST_NUMBER = 5
"""Digits; a shorter number cannot be told from a count."""

SHORTEST_NAME = 3
"""Bytes in UTF-8 (one ideogram is enough); a shorter part of a name is searched for only beside
another part of it."""

_DICOM_ENCODINGS = (
    *(f"iso8859_{number}" for number in (2, 3, 4, 5, 6, 7, 8, 9)),
    *("tis_620", "gb18030", "euc_jp", "euc_kr"),
)
"""Python's names of DICOM's character sets (PS3.3 C.12.1.1.2) beside UTF-8 and Latin-1."""

SHORTEST_ELSEWHERE = 4
"""Bytes of a word in one of them; fewer turn up anywhere in binary content."""

WINDOW = 1 << 22
"""Bytes that are searched at once."""

_IN_WORDS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_TO_WORDS = bytes(byte if byte in _IN_WORDS else 0x20 for byte in range(256))
_TO_OTHER_WORDS = bytes(byte if byte >= 0x80 else 0x20 for byte in range(256))
"""In binary content any byte can stand beside a word, so that words of ASCII and others are
separated from each other."""

_BEFORE = rb"(?<![A-Z0-9])(?<![0-9]\.)"
_AFTER = rb"(?![A-Z0-9])(?!\.[0-9])"
_AFTER_NUMBER = rb"(?![A-Z0-9])(?!\.(?!0+(?![A-Z0-9.]))[0-9])"
"""``10001.0`` is what many a program makes of a column of integers with gaps."""
_BETWEEN = rb"[^A-Z0-9\x80-\xff]{1,3}"

_DATE = re.compile(
    rb"(?<![0-9A-Z])(?<![0-9]\.)(?:"
    rb"(?P<y>[0-9]{4})(?P<s>[-./])(?P<m>[0-9]{1,2})(?P=s)(?P<d>[0-9]{1,2})"
    rb"|(?P<a>[0-9]{1,2})(?P<t>[-./])(?P<b>[0-9]{1,2})(?P=t)(?P<z>[0-9]{4})"
    rb"|(?P<whole>[0-9]{8})(?:(?:[01][0-9]|2[0-3])(?:[0-5][0-9]){2}(?:\.[0-9]{1,6})?)?"
    rb")(?![0-9])(?!\.[0-9])"
)
_SHORT_DATE = re.compile(
    rb"(?<![0-9A-Z./-])(?:"
    rb"[0-3]?[0-9]/[0-3]?[0-9]/[0-9]{2}|[0-3][0-9]([.-])[0-3][0-9]\1[0-9]{2}"
    rb"|(?:19|20)[0-9]{2}-(?:0[1-9]|1[0-2])"
    rb")(?![0-9A-Z])(?![./-][0-9])"
)
"""Too like other things to be compared with birth dates."""

_SPACED = rb"(?: ?[-./] ?| )"
_SPACED_DATE = re.compile(
    rb"(?<![0-9A-Z])(?<![0-9][-./ ])(?:"
    rb"(?P<y>[0-9]{4})" + _SPACED + rb"(?P<m>[0-9]{1,2})" + _SPACED + rb"(?P<d>[0-9]{1,2})"
    rb"|(?P<a>[0-9]{1,2})" + _SPACED + rb"(?P<b>[0-9]{1,2})" + _SPACED + rb"(?P<z>[0-9]{4})"
    rb")(?![0-9])(?![-./ ][0-9]+(?![0-9:]))"
)
"""With blanks; compared with birth dates only, because any three numbers in a row look like it."""

_DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
_EPOCH_DIGITS = range(7, 14)
"""Of a time stamp in seconds or milliseconds; shorter ones are days around 1970."""

_MONTHS = b"JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
_LONG_MONTHS = (
    b"JANUARY FEBRUARY MARCH APRIL JUNE JULY AUGUST SEPTEMBER SEPT OCTOBER NOVEMBER DECEMBER"
).split()
_MONTH_WORDS = frozenset([*_LONG_MONTHS, *_MONTHS])
_NAMED_MONTH = re.compile(
    rb"(?<![0-9A-Z])(?:(?P<before>[0-9]{1,2})(?:ST|ND|RD|TH)?[-./ ]{1,2})?"
    rb"(?P<month>" + b"|".join([*_LONG_MONTHS, *_MONTHS]) + rb")[-./, ]{1,2}"
    rb"(?:(?P<after>[0-9]{1,2})(?:ST|ND|RD|TH)?,? )?(?P<year>[0-9]{4}|(?<=-)[0-9]{2})(?![0-9A-Z:])"
)

_GROUPS = re.compile(
    rb"([- ])(?<=[0-9][0-9].)[0-9]{2,4}(?:\1[0-9]{2,4})*(?![0-9A-Z:/])(?!\1|\.[0-9])"
)
_FIRST_GROUP = re.compile(rb"(?<![0-9A-Z:./-])[0-9]{2,4}$")
_NUMBER_BEFORE = re.compile(rb"(?<=[0-9]) $")
_BORDER = re.compile(rb"[-_ /.](?<=[A-Z].)[0-9]{3,}(?![0-9A-Z])(?!\.[0-9])")
_LETTERS = re.compile(rb"(?<![0-9A-Z])[A-Z]{1,8}$")
_PREFIXED = re.compile(rb"(?:MRN|PATIENT|PAT|PID|ID)([0-9]{5,})")
"""A number in groups; letters and a number, apart; a number glued to what it is."""

_WIDE_TEXT = re.compile(rb"(?:[\x20-\xff]\0){4}|(?:\0[\x20-\xff]){4}")
"""UTF-16. Without its NULs it is Latin-1."""

_UID = re.compile(rb"(?<![0-9A-Z.])[0-2](?:\.(?:0|[1-9][0-9]*)){4,}(?![0-9A-Z])")

_ESCAPED = re.compile(rb"\\u([0-9a-fA-F]{4})")
_PERCENT = re.compile(rb"%[0-9A-Fa-f]{2}")
_ENTITY = re.compile(rb"&#?[0-9A-Za-z]{2,8};")


_GLUED = re.compile(rb"(?<=[a-z\x80-\xbf])(?=[A-Z][a-z\x80-\xff]{2})|(?<=[A-Za-z]{4})(?=[0-9])")
_HYPHENATED = re.compile(rb"(?<=[a-z\x80-\xbf])-[ \t]*\r?\n[ \t]*(?=[a-z\xc2-\xf4])")

_GERMAN = str.maketrans(
    {"\u00e4": "ae", "\u00f6": "oe", "\u00fc": "ue", "\u00df": "ss"}
    | {"\u00c4": "Ae", "\u00d6": "Oe", "\u00dc": "Ue"}
)


@dataclass(frozen=True, slots=True)
class Hit:
    """Offsets in the bytes of something found, and its kind; never the thing itself."""

    start: int
    end: int
    kind: str


@dataclass(slots=True)
class Identities:
    """The values to search for.

    Attributes
    ----------
    common : set of str
        Words in upper case that stand in what is searched without any patient: those the programs
        can write. A part of a name that is one of them is searched for only beside another part.
    any_date, any_uid : bool
        Whether every date and every UID is a hit.
    too_short, common_names : int
        How many values are too short (or no date) to be searched for; how many parts of names are
        searched for only beside another.
    """

    common: set[str] = field(default_factory=set)
    any_date: bool = False
    any_uid: bool = False
    too_short: int = 0
    common_names: int = 0
    _patterns: dict[bytes, dict[bytes, str]] = field(default_factory=dict)
    _joined: dict[bytes, str] = field(default_factory=dict)
    _birth_dates: set[str] = field(default_factory=set)
    _known: set[tuple[str, str]] = field(default_factory=set)
    _running: RunningText = field(default_factory=RunningText)

    def add(self, kind: str, value: str) -> None:
        """Search for an MRN, a name (as PatientName has it), a birth date or an accession."""
        value = value.strip(" \0")
        if not value or (kind, value) in self._known:
            return
        self._known.add((kind, value))
        if kind == NAME:
            self._add_name(value)
        elif kind == BIRTH_DATE:
            days = set(_days(value.encode()))
            self._birth_dates |= days
            self.too_short += not days
        else:
            self._add_identifier(kind, value)

    def limits(self) -> list[str]:
        """Lines that say what is not searched for."""
        lines = []
        if self.too_short:
            lines.append(
                f"{self.too_short} identifiers have fewer than {SHORTEST_NUMBER} characters (or are"
                " birth dates in no known form) and are not searched for: they cannot be told from"
                " counts"
            )
        if self.common_names:
            lines.append(
                f"{self.common_names} parts of names are words of the workflow, of anatomy or of"
                f" kinds of images, or have fewer than {SHORTEST_NAME} letters or {SHORTEST_NUMBER}"
                " digits; they are searched for only beside another part of the same name"
            )
        return lines

    def hits(self, data: bytes) -> Iterator[Hit]:
        """All that is found, as written or in another spelling of the same text."""
        for start in _windows(data):
            window = data[start[0] : start[1]]
            found = set(self._plain(window))
            for spelled in _spellings(window):
                if not found:
                    found.update(Hit(0, len(window), hit.kind) for hit in self._plain(spelled))
            for hit in sorted(found, key=lambda hit: hit.start):
                yield Hit(start[0] + hit.start, start[0] + hit.end, hit.kind)

    def _plain(self, window: bytes) -> Iterator[Hit]:
        upper = window.upper()
        words = set(upper.translate(_TO_WORDS).split())
        words |= {word.lstrip(b"0") for word in words if word.startswith(b"0")}
        if not upper.isascii():
            words.update(upper.translate(_TO_OTHER_WORDS).split())
        for anchor in [word for word in words if word in self._patterns]:
            for pattern, kind in self._patterns[anchor].items():
                after = _AFTER_NUMBER if pattern[-1:].isdigit() else _AFTER
                for match in re.finditer(_BEFORE + pattern + after, upper):
                    yield Hit(match.start(), match.end(), kind)
        for start, end, joined in _joined_numbers(upper, words):
            known = self._joined.get(joined) or self._joined.get(joined.lstrip(b"0"))
            if known:
                yield Hit(start, end, known)
        for start, end in self._running.hits(upper):
            yield Hit(start, end, NAME)
        if self._birth_dates:
            for start, end in self._unusual_days(upper, words):
                yield Hit(start, end, BIRTH_DATE)
        if self._birth_dates or self.any_date:
            for match in _DATE.finditer(upper):
                days = set(_days(match[0]))
                if days & self._birth_dates:
                    yield Hit(match.start(), match.end(), BIRTH_DATE)
                elif days and self.any_date:
                    yield Hit(match.start(), match.end(), DATE)
            for match in _NAMED_MONTH.finditer(upper) if not words.isdisjoint(_MONTH_WORDS) else ():
                days = set(_named_days(match))
                if days & self._birth_dates:
                    yield Hit(match.start(), match.end(), BIRTH_DATE)
                elif self.any_date and (days or len(match["year"]) == 4):
                    yield Hit(match.start(), match.end(), DATE)
        if self.any_date:
            for match in _SHORT_DATE.finditer(upper):
                yield Hit(match.start(), match.end(), DATE)
        if self.any_uid:
            for match in _UID.finditer(upper):
                yield Hit(match.start(), match.end(), UID)

    def _unusual_days(self, upper: bytes, words: Set[bytes]) -> Iterator[tuple[int, int]]:
        """Return where a birth date is written with blanks, or as midnight UTC of a time stamp."""
        for match in _SPACED_DATE.finditer(upper):
            parts = [part for part in match.groups() if part]
            if b" " in match[0] and not self._birth_dates.isdisjoint(_days(b"-".join(parts))):
                yield match.start(), match.end()
        for word in words:
            if len(word) in _EPOCH_DIGITS and word.isdigit():
                for sign in self._birth_stamp(int(word)):
                    stamp = rb"(?<![0-9A-Z])(?<![0-9]\.)" + sign + word + _AFTER_NUMBER
                    for match in re.finditer(stamp, upper):
                        yield match.start(), match.end()

    def _birth_stamp(self, number: int) -> Iterator[bytes]:
        """Return the signs with which a number is midnight UTC of a birth date."""
        for unit in (_DAY_SECONDS, _DAY_SECONDS * 1000):
            days, rest = divmod(number, unit)
            if rest or days > 80_000:
                continue
            for sign, ordinal in ((b"(?<!-)", _EPOCH + days), (b"-", _EPOCH - days)):
                if f"{date.fromordinal(ordinal):%Y%m%d}" in self._birth_dates:
                    yield sign

    def _add_identifier(self, kind: str, value: str) -> None:
        spellings = {value, normal_mrn(value)} if kind == MRN else {value}
        spellings |= {re.sub(r"[^\w]|_", "", spelling) for spelling in spellings}
        searchable = False
        for spelling in spellings:
            parts = re.findall(r"[^\W_]+", spelling)
            length = sum(map(len, parts))
            if length < SHORTEST_NUMBER or not parts:
                continue
            searchable = True
            joined = "".join(parts).upper().encode()
            self._joined[joined.lstrip(b"0") if kind == MRN and joined.isdigit() else joined] = kind
            zeros = b"0*" if kind == MRN and parts[0].isdigit() else b""
            for coded in _encodings(parts):
                pattern = zeros + _BETWEEN.join(map(re.escape, coded))
                anchor = _anchor(coded)
                anchors = {anchor, anchor.lstrip(b"0")} if zeros else {anchor}
                for each in anchors - {b""}:
                    self._patterns.setdefault(each, {})[pattern] = kind
        self.too_short += not searchable

    def _add_name(self, value: str) -> None:
        for group in value.split("="):
            parts = [part for part in re.split(r"[\^\s,]+", group) if re.search(r"[^\W_]", part)]
            beside = set()
            for part in parts:
                words = re.findall(r"[^\W_]+", part)
                if not _stands_alone("".join(words)) or " ".join(words).upper() in self.common:
                    beside.add(part)
                    continue
                halves = [[word] for word in words] if len(words) > 1 else []
                for spelling in (words, ["".join(words)], *halves):
                    for written in _without_marks(spelling):
                        joined, spaced = "".join(written), " ".join(written)
                        known = {joined.upper(), spaced.upper()} & self.common
                        if _stands_alone(joined) and not known:
                            self._add_words([written])
            self._add_running(parts)
            for one, other in combinations(parts, 2):  # glued, in either order
                for glued in (one + other, other + one):
                    for written in _without_marks(["".join(re.findall(r"[^\W_]+", glued))]):
                        self._add_words([written])
            self.common_names += len(beside)
            for one, other in combinations(parts, 2):
                if one in beside or other in beside:
                    pair = [re.findall(r"[^\W_]+", part) for part in (one, other)]
                    for first, second in zip(*map(_without_marks, pair), strict=True):
                        self._add_words([first, second])
                        self._add_words([second, first])

    def _add_running(self, parts: list[str]) -> None:
        """Search for a name and its parts in text without blanks between words."""
        for word in ("".join(parts), "".join(reversed(parts)), *parts):
            if word.upper() not in self.common:
                self._running.add(word)

    def _add_words(self, parts: list[list[str]]) -> None:
        for coded in _encodings([word for part in parts for word in part]):
            pattern = _BETWEEN.join(map(re.escape, coded))
            self._patterns.setdefault(_anchor(coded), {})[pattern] = NAME


def _stands_alone(word: str) -> bool:
    """Whether a word can be told from others: ``0001`` of ``PANCREAS_0001`` is like any count."""
    enough = SHORTEST_NUMBER if word.isdigit() else SHORTEST_NAME
    return len(word.encode()) >= enough


def _without_marks(words: list[str]) -> list[list[str]]:
    """The words as they are, with their accents apart (NFD), without them, and as German has it."""
    composed = [unicodedata.normalize("NFC", word) for word in words]
    apart = [unicodedata.normalize("NFD", word) for word in words]
    german = [word.translate(_GERMAN) for word in composed]
    return [composed, apart, _bare(composed), _bare(german)]


def _bare(words: list[str]) -> list[str]:
    marked = (unicodedata.normalize("NFD", word) for word in words)
    return ["".join(char for char in word if not unicodedata.combining(char)) for word in marked]


def _joined_numbers(upper: bytes, words: Set[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Start and end of what may be one identifier in a spelling of several pieces, and its
    characters in one."""
    for match in _GROUPS.finditer(upper):
        first = _FIRST_GROUP.search(upper, max(0, match.start() - 6), match.start())
        if not first:
            continue
        whole = first[0] + match[0]
        listed = match[1] == b" " and _NUMBER_BEFORE.search(
            upper, max(0, first.start() - 1), first.start()
        )
        if not listed and not any(_days(whole)):
            yield first.start(), match.end(), whole.replace(match[1], b"")
    for match in _BORDER.finditer(upper):
        letters = _LETTERS.search(upper, max(0, match.start() - 9), match.start())
        if letters:
            yield letters.start(), match.end(), letters[0] + match[0][1:]
    for word in words:
        if glued := _PREFIXED.fullmatch(word):
            for location in re.finditer(_BEFORE + word + _AFTER, upper):
                yield location.start(), location.end(), glued[1]


def words_of(paths: Iterable[Path]) -> set[str]:
    """All words of text files, in upper case."""
    found: set[str] = set()
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="ignore").upper()
        found.update(re.findall(r"[^\W\d_]+", text))
    return found


def redacted(text: str, identities: Identities) -> str:
    """`text` with stars for what is found in it: for locations that are named in a message."""
    coded = bytearray(text.encode("utf-8", "surrogateescape"))
    for hit in identities.hits(bytes(coded)):
        coded[hit.start : hit.end] = b"*" * (hit.end - hit.start)
    return coded.decode("utf-8", "replace")


def _windows(data: bytes) -> Iterator[tuple[int, int]]:
    """Pieces that end at a line's end where there is one; others overlap by a little."""
    start = 0
    while start < len(data):
        end = min(len(data), start + WINDOW)
        line = data.find(b"\n", end, end + (1 << 16)) if end < len(data) else -1
        if line >= 0:
            end = line + 1
        yield start, end
        start = end if line >= 0 or end == len(data) else end - 512


def _spellings(window: bytes) -> Iterator[bytes]:
    """The same text without JSON's, URLs' and HTML's escapes, where it has any; its words split
    where small letters meet capitals or letters meet digits; and not parted at a line's end."""
    if _ESCAPED.search(window):
        yield _ESCAPED.sub(lambda m: chr(int(m[1], 16)).encode("utf-8", "replace"), window)
    if b"\0" in window and _WIDE_TEXT.search(window):
        yield window.replace(b"\0", b"")
    if _PERCENT.search(window):
        yield unquote_to_bytes(window)
    if b"\x1b$" in window:
        yield without_shifts(window)
    if _GLUED.search(window):
        yield _GLUED.sub(rb" ", window)
    if _HYPHENATED.search(window):
        yield _HYPHENATED.sub(b"", window)
    if _ENTITY.search(window):
        yield html.unescape(window.decode("utf-8", "replace")).encode("utf-8", "replace")


def _encodings(parts: list[str]) -> Iterator[list[bytes]]:
    """The words as bytes in the encodings and cases that occur, ASCII in upper case."""
    seen = set()
    plain = all(part.isascii() for part in parts)
    for encoding in ("utf-8",) if plain else ("utf-8", "latin-1", *_DICOM_ENCODINGS):
        for case in (str, str.lower, str.upper, str.title):
            try:
                coded = tuple(case(part).encode(encoding).upper() for part in parts)
            except UnicodeEncodeError:
                continue
            if encoding in _DICOM_ENCODINGS and len(b"".join(coded)) < SHORTEST_ELSEWHERE:
                continue
            if coded not in seen:
                seen.add(coded)
                yield list(coded)


def _anchor(coded: list[bytes]) -> bytes:
    """The longest word of what is searched for that `Identities` meets as a word."""
    parts = [part for word in coded for part in re.findall(rb"[A-Z0-9]+|[\x80-\xff]+", word)]
    longest: bytes = max(parts, key=len)
    return longest


def _days(text: bytes) -> Iterator[str]:
    """The days, as YYYYMMDD, that a date can mean; none if it is no date."""
    match = _DATE.fullmatch(text)
    if not match:
        return
    if match["whole"]:
        whole = match["whole"].decode()
        candidates = [(whole[:4], whole[4:6], whole[6:])]
    elif match["y"]:
        candidates = [(match["y"].decode(), match["m"].decode(), match["d"].decode())]
    else:
        one, other, year = (match[group].decode() for group in ("a", "b", "z"))
        candidates = [(year, one, other), (year, other, one)]
    for year, month, day in candidates:
        if 1850 <= int(year) <= 2150 and 1 <= int(month) <= 12 and 1 <= int(day) <= 31:
            yield f"{year}{int(month):02d}{int(day):02d}"


def _named_days(match: re.Match[bytes]) -> Iterator[str]:
    """The days that a date with a month's name can mean; none where it has no day."""
    month = _MONTHS.index(match["month"][:3]) + 1
    year = match["year"].decode()
    for day in (match["before"], match["after"]):
        if day and 1 <= int(day) <= 31:
            for century in ("19", "20") if len(year) == 2 else ("",):
                yield f"{century}{year}{month:02d}{int(day):02d}"
