"""What a machine may lack, said in one line before Snakemake's own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import ROOT, Site

PROFILES = sorted(path.name for path in (ROOT / "profiles").iterdir())


def test_a_home_that_cannot_be_written_to_is_named(site: Site, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("not a folder, as for everybody, root too")
    site.environment = {"HOME": str(home), "XDG_CACHE_HOME": ""}
    told = site.run("-n", ok=False).output
    before, _, _ = told.partition("Traceback")
    (line,) = (line for line in before.splitlines() if line.startswith("error: "))
    assert str(home / ".cache") in line
    assert "export XDG_CACHE_HOME=" in line

    site.environment = {"HOME": str(home), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert "error: " not in site.run("-n").output


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_has_what_the_default_one_has(profile: str) -> None:
    """Snakemake reads the default profile or another, not both."""

    def lines(name: str) -> list[str]:
        text = (ROOT / "profiles" / name / "profile.yaml").read_text()
        return [line.partition("  #")[0].rstrip() for line in text.splitlines()]

    here = lines(profile)
    assert [line for line in lines("default") if line not in here and line[:1] != "#"] == []
