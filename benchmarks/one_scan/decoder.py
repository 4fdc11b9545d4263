"""The least that reading a compressed scan must do: read the files, and decode every frame."""

import sys
from pathlib import Path

from imagecodecs import jpeg2k_decode, jpeg8_decode, jpegls_decode
from pydicom import dcmread
from pydicom.encaps import generate_frames

DECODERS = {
    "1.2.840.10008.1.2.4.70": jpeg8_decode,
    "1.2.840.10008.1.2.4.80": jpegls_decode,
    "1.2.840.10008.1.2.4.90": jpeg2k_decode,
}


def main(raw: Path) -> None:
    for path in raw.glob("*.dcm"):
        dataset = dcmread(path)
        decode = DECODERS[dataset.file_meta.TransferSyntaxUID]
        for frame in generate_frames(dataset.PixelData, number_of_frames=1):
            decode(frame)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
