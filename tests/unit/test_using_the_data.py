"""The code in docs/using-the-data.md runs as it stands, and does what the page says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctcohort.base.files import write_table
from ctcohort.dataset import manifest
from ctcohort.phantoms.anatomy import Rigid
from ctcohort.volume import chunked, npz
from ctcohort.volume.nifti import export

SHAPE = (40, 50, 60)
SCANS = {"DEMO0001": ("train", 1), "DEMO0002": ("train", 0), "DEMO0003": ("val", 1)}
TORCH = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch, which is the user's to install"
)


def blocks(page: Path, *, torch: bool) -> list[str]:
    found = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) == 9
    return [block for block in found if ("import torch" in block) == torch]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with three scans; the last is smaller than a crop."""
    folder = tmp_path_factory.mktemp("site")
    rows = []
    for number, (accession, (split, nodule)) in enumerate(SCANS.items()):
        shape = SHAPE if number < 2 else (20, 30, 40)
        ct = np.random.default_rng(number).integers(-1000, 1001, shape).astype(np.int16)
        direction = Rigid.about((1, 0, 0), 9.0 * number).rotation @ [
            [0, 0, 1],
            [0, 1, 0],
            [-1, 0, 0],
        ]
        arrays = {"ct": ct, "spacing": np.array([2.0, 0.8, 0.7]), "direction": direction}
        arrays = {**arrays, "origin": np.array([-170.5, -160.25, 88.0])}
        volume = folder / "processed" / f"{accession}.npz"
        npz.write(volume, {key: arrays[key] for key in ("ct", "spacing", "origin", "direction")})
        (folder / "nifti").mkdir(exist_ok=True)
        export(volume, folder / "nifti" / f"{accession}.nii.gz")
        chunked.write(volume, folder / "chunked" / f"{accession}.b2nd")
        made = {"status": "included", "full_filename_npz": volume.name}
        made["full_filename_b2nd"] = f"{accession}.b2nd"
        rows.append({"accession": accession, "split": split, "nodule": nodule, **made})
    rows.append({"accession": "DEMO0006", "split": "train", "nodule": "", "status": "excluded"})
    write_table(folder / "manifest.csv", (*manifest.COLUMNS, "nodule"), rows)
    return folder


@pytest.fixture
def inside(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site)


def run(code: list[str]) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "page"}
    for block in code:
        exec(compile(block, "using-the-data.md", "exec"), names)
    return names


@pytest.mark.usefixtures("inside")
def test_the_page_without_torch(repository: Path) -> None:
    page = run(blocks(repository / "docs" / "using-the-data.md", torch=False))
    assert page["labels"] == {name: nodule for name, (_, nodule) in SCANS.items()}
    assert [row["accession"] for row in page["train"]] == ["DEMO0001", "DEMO0002"]
    assert np.allclose(page["back"], (page["z"], page["y"], page["x"]))
    assert np.array_equal(page["patch"], page["ct"][8:24, 10:42, 5:37])
    with np.load("processed/DEMO0001.npz") as npz_file:
        for key, value in page["placed"].items():
            assert np.array_equal(value, npz_file[key])
    assert np.array_equal(page["slab"], page["ct"][8:24])
    assert np.allclose(page["point"], page["place"])
    assert page["voxel"] == page["ct"][page["z"], page["y"], page["x"]]
    for name, (low, high) in {
        "lung": (-1350, 150),
        "soft": (-160, 240),
        "bone": (-450, 1050),
    }.items():
        shown, ct = page[name], page["ct"]
        assert shown.dtype == np.float32
        assert np.allclose(shown, np.clip((ct - low) / (high - low), 0, 1), atol=1e-6)
    water = {name: float(page["window"](np.zeros(1), *at)[0]) for name, at in WINDOWS.items()}
    assert water == pytest.approx({"lung": 0.9, "soft": 0.4, "bone": 0.3})
    assert page["window"](np.array([-1000]), -600, 1500)[0] == pytest.approx(0.23, abs=0.005)
    assert page["window"](np.array([1000]), 300, 1500)[0] == pytest.approx(0.97, abs=0.005)


@pytest.mark.usefixtures("inside")
def test_the_dataset_of_patches(repository: Path) -> None:
    page = run(blocks(repository / "docs" / "using-the-data.md", torch=False))
    patches, batch = page["patches"], page["batch"]
    assert batch.shape == (8, 32, 32, 32)  # two scans of the set, four each
    assert batch.dtype == np.float32
    for index, patch in enumerate(batch):
        with np.load(f"processed/DEMO000{1 + index % 2}.npz") as scan:
            views = np.lib.stride_tricks.sliding_window_view(scan["ct"], (32, 32, 32))
        corners = np.argwhere(views[..., 0, 0, 0] == patch[0, 0, 0])
        assert any(np.array_equal(views[tuple(corner)], patch) for corner in corners)
    assert len({patch.tobytes() for patch in batch}) == len(batch)
    assert np.array_equal(patches[3], batch[3])
    patches.set_epoch(1)
    assert not np.array_equal(patches[3], batch[3])
    small = page["Patches"](".", "val", size=48)[0]
    with np.load("processed/DEMO0003.npz") as scan:
        assert np.array_equal(small[:20, :30, :40], scan["ct"])
    assert (small[20:] == -1000).all()


@pytest.mark.usefixtures("inside")
def test_patches_say_what_is_missing(repository: Path, tmp_path: Path) -> None:
    page = run(blocks(repository / "docs" / "using-the-data.md", torch=False))
    row = {"accession": "A1", "split": "train", "status": "included", "full_filename_b2nd": ""}
    write_table(tmp_path / "manifest.csv", manifest.COLUMNS, [row])
    with pytest.raises(FileNotFoundError, match="snakemake chunked"):
        page["Patches"](tmp_path, "train")


WINDOWS = {"lung": (-600, 1500), "soft": (40, 400), "bone": (300, 1500)}


def test_the_table_of_windows_is_the_code_s(repository: Path) -> None:
    text = (repository / "docs" / "using-the-data.md").read_text()
    rows = re.findall(
        r"^\| ([a-z ]+) \| (-?\d+) \| (\d+) \| (-?\d+) to (-?\d+) \|", text, re.MULTILINE
    )
    told = {name.split()[0]: tuple(map(int, numbers)) for name, *numbers in rows}
    assert told == {
        name: (level, width, level - width // 2, level + width // 2)
        for name, (level, width) in WINDOWS.items()
    }


@TORCH
@pytest.mark.usefixtures("inside")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_pytorch_dataset(repository: Path) -> None:
    import torch

    torch.manual_seed(0)
    page = run(blocks(repository / "docs" / "using-the-data.md", torch=True))
    images, targets = page["images"], page["targets"]
    assert images.shape == (2, 3, 32, 48, 48)
    assert images.dtype == targets.dtype == torch.float32
    assert sorted(targets.ravel().tolist()) == [0.0, 1.0]
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1

    dataset = page["dataset"]
    assert len(dataset) == 2
    first, again = dataset[0][0], dataset[0][0]
    assert not torch.equal(first, again)  # another place
    torch.manual_seed(7)
    one = dataset[0][0]
    torch.manual_seed(7)
    assert torch.equal(one, dataset[0][0])

    with np.load("processed/DEMO0001.npz") as scan:
        lung = np.clip((scan["ct"].astype(np.float32) + 600) / 1500 + 0.5, 0, 1)
    views = np.lib.stride_tricks.sliding_window_view(lung, (32, 48, 48))
    assert any(np.array_equal(view, one[0].numpy()) for view in views.reshape(-1, 32, 48, 48))

    small, target = page["ChestCT"](".", "val", ["nodule"], crop=(32, 32, 32))[0]
    assert small.shape == (3, 32, 32, 32)
    assert target.tolist() == [1.0]
    air = np.clip((-1000 + 600) / 1500 + 0.5, 0, 1)
    assert torch.allclose(small[0, 20:], torch.tensor(air, dtype=torch.float32))
