"""The config: what is accepted, what is said of what is not, and when two configs mean the same."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ctcohort.base.faults import InputError
from ctcohort.base.privacy import private_key
from ctcohort.config import paths
from ctcohort.config.checking import check, typed
from ctcohort.config.loading import check_file, refuse_other_names
from ctcohort.config.settings import (
    SelectSettings,
    SeriesSettings,
    VolumeSettings,
    canonical,
    canonical_exclusions,
    canonical_volume,
    digest,
    parse,
    partition_of,
)

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = yaml.safe_load((ROOT / "rules" / "config.schema.yaml").read_text())
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
VOLUME = CONFIG["volume"]


def schema_keys(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, child in node.get("properties", {}).items():
        yield (*path, key)
        if "null" not in child.get("type", ()):  # what may be null is one value, however it is made
            yield from schema_keys(child, (*path, key))


def config_keys(section: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in section.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from config_keys(value, (*path, key))


def schema_node(path: tuple[str, ...]) -> dict[str, Any]:
    node = SCHEMA
    for key in path:
        node = node["properties"][key]
    return node


KEYS = sorted(schema_keys(SCHEMA))
LEAVES = [path for path in KEYS if "examples" in schema_node(path)]


NEEDED: dict[str, dict[str, Any]] = {
    "stratify": {"columns.carry": ["nodule"]},
    "timezone": {"archive.hours": ["sat,sun"]},
    "credentials": {"archive.dicomweb.auth": "basic"},
    "token_url": {"archive.dicomweb.auth": "oauth2_refresh"},
    "client_key": {"archive.dicomweb.client_certificate": "client.pem"},
    "move_port": {"archive.dimse.method": "move", "archive.connections": 1},
}
"""Key -> what gives it its effect."""


def with_value(path: tuple[str, ...], value: object) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    section = config
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return config


def complaints(config: dict[str, Any]) -> list[str]:
    with pytest.raises(InputError) as caught:
        check(config, SCHEMA, CONFIG)
    first, *lines = str(caught.value).splitlines()
    assert first == "the config is not valid:"
    return [line.strip() for line in lines]


# The defaults, the schema and the documentation of every key


def test_the_defaults_are_valid() -> None:
    check(CONFIG, SCHEMA, CONFIG)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_key_of_the_schema_has_a_default_and_every_default_a_schema() -> None:
    assert set(config_keys(CONFIG)) == set(KEYS)


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_every_key_is_described_with_an_example_that_is_valid(path: tuple[str, ...]) -> None:
    node = schema_node(path)
    assert node["description"]
    if path in LEAVES:
        assert len(node["examples"]) == 1
        example = yaml.safe_load(str(node["examples"][0]))
        config = with_value(path, example)
        for needed, value in NEEDED.get(path[-1], {}).items():
            at = config
            *sections, last = needed.split(".")
            for section in sections:
                at = at[section]
            at[last] = value
        check(config, SCHEMA, CONFIG)
    else:
        assert node["additionalProperties"] is False
        assert sorted(node["required"]) == sorted(node["properties"])


# What is said of a mistake


WRONG = [
    (path, wrong)
    for path in KEYS
    for wrong in (-99.5, "\N{SNOWMAN}", None, True)
    if not Draft202012Validator(SCHEMA).is_valid(with_value(path, wrong))
]


@pytest.mark.parametrize(("path", "wrong"), WRONG)
def test_a_wrong_value_gives_one_line_with_key_expectation_and_example(
    path: tuple[str, ...], wrong: object
) -> None:
    node = schema_node(path)
    config = with_value(path, wrong)
    lines = complaints(config)
    assert len(lines) == 1
    assert lines[0].startswith(f"{'.'.join(path)}: is {json.dumps(wrong)}; expected ")
    assert node["description"] in lines[0]
    assert ", e.g. " in lines[0]


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("columns", "carry"), ["a", 3]),
        (("series", "tie_break"), ["slice_thickness", "kernel"]),
        (("series", "kinds"), []),
        (("volume", "clip_hu"), [-1000]),
        (("volume", "clip_hu"), [-40000, 1000]),
        (("volume", "clip_hu"), [1000, -1000]),
        (("volume", "spacing_mm"), [0.8, 0.8]),
        (("volume", "spacing_mm"), [0.8, 0.8, 0]),
        (("volume", "spacing_mm"), 0),
        (("partition",), "0/3"),
        (("partition",), "1/x"),
        (("partition",), "4/3"),
        (("select", "protocols_regex"), ["ct", "(chest"]),
        (("series", "prefer_kernels"), ["[B3"]),
        (("series", "exclude_description_regex"), ["*"]),
    ],
)
def test_a_value_that_is_nearly_right_gives_one_line_too(
    path: tuple[str, ...], wrong: object
) -> None:
    (line,) = complaints(with_value(path, wrong))
    assert line.startswith(".".join(path))
    assert "expected" in line
    assert "e.g. " in line


def test_shares_that_do_not_sum_to_one_are_named() -> None:
    (line,) = complaints(with_value(("splits", "test"), 0.3))
    assert line.startswith("splits: train, val and test sum to 1.1; expected 1, e.g. {train: 0.7")


@pytest.mark.parametrize(
    ("path", "value", "other"),
    [
        (("archive", "timezone"), "Europe/Zurich", "archive.hours"),
        (("archive", "dicomweb", "credentials"), "secret", "auth"),
        (
            ("archive", "dicomweb", "token_url"),
            "https://a.example/token",
            "auth: oauth2_refresh or oauth2_client_credentials",
        ),
        (("archive", "dicomweb", "client_key"), "key.pem", "client_certificate"),
        (("archive", "dimse", "move_port"), 11113, "method: move"),
    ],
)
def test_a_key_that_has_no_effect_is_an_error(
    path: tuple[str, ...], value: object, other: str
) -> None:
    (line,) = complaints(with_value(path, value))
    assert line.startswith(f"{'.'.join(path)}: has no effect without {other};")


def test_shares_beside_a_given_split_have_no_effect() -> None:
    config = with_value(("columns", "split"), "Set")
    check(config, SCHEMA, CONFIG)
    config["splits"] |= {"train": 0.8, "test": 0.1, "seed": 0.0}
    assert [line.partition(":")[0] for line in complaints(config)] == [
        "splits.train",
        "splits.test",
    ]


def test_strata_are_of_a_carried_column_and_of_all_patients() -> None:
    config = with_value(("splits", "stratify"), "nodule")
    (line,) = complaints(config)
    assert line.startswith("splits.stratify: 'nodule' is not carried; expected")
    config["columns"]["carry"] = ["nodule"]
    check(config, SCHEMA, CONFIG)
    for other in ({"partition": "1/2"}, {"columns": config["columns"] | {"split": "Set"}}):
        (line,) = complaints(config | other)
        assert line.startswith("splits.stratify: cannot be combined with")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        (("volume", "spacing"), "did you mean spacing_mm?"),
        (("serie",), "did you mean series?"),
        (("archive", "folder", "zzz"), "known keys: path, link"),
        (("select", "1"), "known keys: protocols, protocols_regex, sample"),
    ],
)
def test_an_unknown_key_is_named_with_what_was_probably_meant(
    path: tuple[str, ...], hint: str
) -> None:
    assert complaints(with_value(path, 1)) == [f"{'.'.join(path)}: unknown key; {hint}"]


def test_a_key_that_was_removed_is_named() -> None:
    config = copy.deepcopy(CONFIG)
    del config["volume"]["clip_hu"]
    (line,) = complaints(config)
    assert line.startswith("volume: 'clip_hu' is a required property; expected ")


def test_every_mistake_has_its_own_line() -> None:
    config = with_value(("volume", "interpolator"), "cubic")
    config["raw"] = "maybe"
    config["volume"]["zzz"] = config["volume"]["yyy"] = 1
    lines = complaints(config)
    assert len(lines) == 4
    assert {line.split(":")[0] for line in lines} == {
        "raw",
        "volume.interpolator",
        "volume.yyy",
        "volume.zzz",
    }


@pytest.mark.parametrize(("text", "numbers"), [(None, (1, 1)), ("", (1, 1)), ("3/8", (3, 8))])
def test_a_partition_as_numbers(text: str | None, numbers: tuple[int, int]) -> None:
    assert partition_of(text) == numbers


# Equal meanings are equal strings


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(item) for key, item in reversed(value.items())}
    return value


@pytest.mark.parametrize("section", ["columns", "select", "series", "volume", "splits"])
def test_the_order_of_keys_does_not_matter(section: str) -> None:
    assert canonical(reordered(CONFIG[section])) == canonical(CONFIG[section])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{spacing_mm: 0.8}", "{spacing_mm: 0.80}"),
        ("{spacing_mm: 0.8}", "{spacing_mm: [0.8, 0.8, 0.8]}"),
        ("{spacing_mm: 1}", "{spacing_mm: 1.0}"),
        ("{spacing_mm: 1}", "{spacing_mm: [1.0, 1, 1.00]}"),
        ("{clip_hu: [-1000, 1000]}", "{clip_hu: [-1000.0, 1.0e+3]}"),
        ("{max_gap_mm: 10}", "{max_gap_mm: 10.0}"),
        ("{}", "{spacing_mm: null}"),
        ("{interpolator: linear}", "{interpolator: linear, max_z_error_mm: null}"),
    ],
)
def test_another_spelling_of_a_volume_is_the_same_string(one: str, other: str) -> None:
    assert canonical_volume(yaml.safe_load(one)) == canonical_volume(yaml.safe_load(other))


@pytest.mark.parametrize(
    "neutral",
    ["min_fov_mm: null", "allow_lossy: false", "prefer_kernels: []", "new_key: {a: null}"],
)
def test_a_neutral_option_may_be_spelled_out(neutral: str) -> None:
    short = {"kinds": ["ORIGINAL"], "min_slices": 31}
    assert canonical(short | yaml.safe_load(f"{{{neutral}}}")) == canonical(short)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"max_z_error_mm": 0}, {"max_z_error_mm": None}),
        ({"max_z_error_mm": 0}, {}),
        ({"spacing_mm": [0.8, 0.7, 0.7]}, {"spacing_mm": [0.7, 0.7, 0.8]}),
        ({"spacing_mm": 0.8}, {"spacing_mm": 0.8000001}),
        ({"tie_break": ["a", "b"]}, {"tie_break": ["b", "a"]}),
    ],
)
def test_another_meaning_is_another_string(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert canonical_volume(one) != canonical_volume(other)
    assert digest(canonical_volume(one)) != digest(canonical_volume(other))


def test_what_cannot_exclude_a_series_is_not_in_the_verdict() -> None:
    changed = VOLUME | {"clip_hu": [-500, 500], "spacing_mm": 1, "interpolator": "linear"}
    assert canonical_exclusions(changed) == canonical_exclusions(VOLUME)
    for key, value in (("gantry_tilt", "exclude"), ("max_gap_mm", 3), ("max_z_error_mm", None)):
        assert canonical_exclusions(VOLUME | {key: value}) != canonical_exclusions(VOLUME)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=3), values, max_size=4))
def test_a_canonical_string_is_its_own_canonical_string(section: dict[str, Any]) -> None:
    text = canonical(section)
    assert canonical(json.loads(text)) == text == canonical(reordered(section))


def test_the_rules_come_back_from_their_string() -> None:
    assert parse(canonical_volume(VOLUME), VolumeSettings) == VolumeSettings(
        irregular_spacing="mode",
        gantry_tilt="correct",
        max_z_error_mm=5,
        max_gap_mm=10,
        clip_hu=(-1000, 1000),
        spacing_mm=(0.8, 0.8, 0.8),
        interpolator="bspline",
    )
    assert parse(canonical(CONFIG["series"]), SeriesSettings) == SeriesSettings(
        kinds=("ORIGINAL",),
        min_slices=31,
        contrast="any",
        tie_break=("slice_thickness", "series_number", "series_uid"),
    )
    assert parse(canonical({"sample": None, "protocols": []}), SelectSettings) == SelectSettings()


# The private key


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("ab" * 32 + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def fingerprint(tmp_path: Path) -> Path:
    return tmp_path / "index" / "key.fingerprint"


def test_without_a_key_file_there_is_no_key(fingerprint: Path) -> None:
    assert private_key(None, fingerprint) is None
    assert private_key("", fingerprint) is None
    assert not fingerprint.exists()


def test_the_same_key_is_taken_again_and_its_mark_does_not_give_it_away(
    key: Path, fingerprint: Path
) -> None:
    assert private_key(str(key), fingerprint) == b"ab" * 32
    assert private_key(str(key), fingerprint) == b"ab" * 32
    assert re.fullmatch(r"[0-9a-f]{16}\n", fingerprint.read_text())
    assert "abab" not in fingerprint.read_text()


def test_a_missing_key_stops_everything(tmp_path: Path, fingerprint: Path) -> None:
    with pytest.raises(InputError, match=r"privacy\.key_file: .*/none cannot be read.*make key"):
        private_key(str(tmp_path / "none"), fingerprint)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_that_others_may_read_stops_everything(
    key: Path, fingerprint: Path, mode: int
) -> None:
    os.chmod(key, mode)
    with pytest.raises(InputError, match=r"privacy\.key_file: .*readable by others.*chmod 600"):
        private_key(str(key), fingerprint)
    assert not fingerprint.exists()


def test_another_key_stops_everything(key: Path, fingerprint: Path) -> None:
    private_key(str(key), fingerprint)
    key.write_text("cd" * 32 + "\n")
    with pytest.raises(
        InputError, match=r"privacy\.key_file: .*not the key this data set"
    ) as caught:
        private_key(str(key), fingerprint)
    assert str(fingerprint) in str(caught.value)


@pytest.mark.parametrize("content", ["", "short\n", "\n" * 64])
def test_what_is_no_key_stops_everything(key: Path, fingerprint: Path, content: str) -> None:
    key.write_text(content)
    with pytest.raises(InputError, match=r"privacy\.key_file: .*not a key made by `make key`"):
        private_key(str(key), fingerprint)
    assert not fingerprint.exists()


def as_text(value: Any) -> Any:
    """What Snakemake's --config makes of nested values."""
    if isinstance(value, dict):
        return {key: as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return value if isinstance(value, str) else json.dumps(value)


def test_what_the_command_line_gives_as_text_is_what_the_file_says() -> None:
    config = {key: value for key, value in CONFIG.items() if isinstance(value, dict)}
    numbers = {
        "volume": {**VOLUME, "spacing_mm": [0.8, 1, 2]},
        "splits": {**config["splits"], "stratify": "nodule"},
        "series": {"min_slices": 20, "allow_lossy": True, "kinds": ["ORIGINAL"]},
    }
    assert typed(as_text(numbers), SCHEMA) == numbers
    assert typed({"select": {"protocols": ["12"]}}, SCHEMA) == {"select": {"protocols": ["12"]}}
    assert typed({"volume": {"spacing_mm": "0,8"}}, SCHEMA) == {"volume": {"spacing_mm": "0,8"}}
    assert typed(CONFIG, SCHEMA) == CONFIG


# Files


def keyed(text: str) -> dict[str, Any]:
    """The default config with one key set, as a YAML text has it."""
    config, changes = copy.deepcopy(CONFIG), yaml.safe_load(text)
    stack = [(config, changes)]
    while stack:
        node, change = stack.pop()
        for key, value in change.items():
            if isinstance(value, dict) and isinstance(node[key], dict):
                stack.append((node[key], value))
            else:
                node[key] = value
    return config


NAMED_PATHS = [
    ("reports: lost", "reports"),
    ("exclusions: lost", "exclusions"),
    ("merged_mrns: lost", "merged_mrns"),
    ("reviews: lost", "reviews"),
    ("archive: {folder: {path: lost}}", "archive.folder.path"),
    ("privacy: {key_file: lost}", "privacy.key_file"),
    ("release: {about: lost}", "release.about"),
    *(
        (f"archive: {{kind: dicomweb, dicomweb: {{{key}: lost}}}}", f"archive.dicomweb.{key}")
        for key in ("credentials", "ca_bundle", "client_certificate", "client_key")
    ),
    *(
        (f"archive: {{kind: dimse, dimse: {{tls: {{{key}: lost}}}}}}", f"archive.dimse.tls.{key}")
        for key in ("ca_bundle", "certificate", "key")
    ),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "reports.csv").touch()
    (tmp_path / "archive").mkdir()
    return tmp_path


@pytest.mark.parametrize(("text", "key"), NAMED_PATHS)
def test_every_path_of_the_config_is_looked_for(here: Path, text: str, key: str) -> None:
    (line,) = paths.missing(keyed(text))
    assert line.startswith(f"{key}: {here / 'lost'} ")
    is_folder = key == "archive.folder.path"
    (here / "lost").mkdir() if is_folder else (here / "lost").touch()
    assert paths.missing(keyed(text)) == []


@pytest.mark.parametrize(("text", "key"), NAMED_PATHS)
def test_a_tilde_is_expanded_in_every_path(here: Path, text: str, key: str) -> None:
    config = keyed(text.replace("lost", "~/kept"))
    is_folder = key == "archive.folder.path"
    (here / "kept").mkdir() if is_folder else (here / "kept").touch()
    paths.expand(config)
    assert paths.missing(config) == []
    assert str(here / "kept") in json.dumps(config)


def test_a_tilde_is_expanded_in_the_path_of_the_key_table(here: Path) -> None:
    config = keyed("release: {key_table: ~/safe/names.csv}")
    paths.expand(config)
    assert config["release"]["key_table"] == str(here / "safe" / "names.csv")


def test_every_key_that_the_schema_calls_a_path_is_looked_for() -> None:
    described = {".".join(path) for path in KEYS if "path of" in schema_node(path)["description"]}
    looked_for = {re.sub(r"tls\..*", "tls", key) for _, key in NAMED_PATHS}
    made = {"release.key_table"}  # by a release
    assert described - made - {"archive.dimse.tls"} == looked_for - {"archive.dimse.tls"}


def test_the_default_reviews_and_other_archives_may_be_missing(here: Path) -> None:
    assert paths.missing(CONFIG) == []
    assert paths.missing(keyed("archive: {dicomweb: {ca_bundle: lost}}")) == []
    (here / "archive").rmdir()
    assert paths.missing(keyed("archive: {kind: dicomweb}")) == []


def test_a_missing_folder_beside_another_archive_asks_which_is_meant(here: Path) -> None:
    (here / "archive").rmdir()
    (line,) = paths.missing(keyed("archive: {dicomweb: {url: https://archive.example}}"))
    assert "or archive.kind: dicomweb, since archive.dicomweb.url is set" in line


def test_a_folder_is_no_table(here: Path) -> None:
    (here / "lost").mkdir()
    (line,) = paths.missing(keyed("exclusions: lost"))
    assert "is a folder" in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("reports: a.csv\nselect:\n\tsample: 5\n", "line 3, column 1: is not YAML"),
        ("reports: a.csv\nselect: {sample: 5\nraw: keep\n", "line 3"),
        ("series: {min_slices: 20}\nraw: keep\nseries:\n  contrast: none\n", "line 3: series was"),
        ("select:\n  sample: 5\n  sample: 6\n", "line 3: sample was set in line 2"),
        ("", "holds no keys"),
        ("just text\n", "holds no keys"),
        ("reports: M\xfcller.csv", "is not YAML in UTF-8"),
    ],
)
def test_a_broken_config_file_is_named_with_its_line(
    tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content.encode("latin1"))
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        check_file(path)
    assert str(caught.value).startswith(str(path))


def test_the_projects_own_config_is_read_strictly() -> None:
    check_file(ROOT / "config.yaml")


@pytest.mark.parametrize("name", ["config.yml", "Config.yaml", "config.yaml.txt"])
def test_a_config_under_another_name_is_refused(tmp_path: Path, name: str) -> None:
    refuse_other_names(tmp_path)
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"{name} in the working directory is not read"):
        refuse_other_names(tmp_path)
