"""Draws the edges of each picture in /pfs/images: /pfs/out/NAME.png, white on black."""

import os
from pathlib import Path

from PIL import Image, ImageFilter, ImageOps

KERNEL = 5


def main(pfs: Path) -> None:
    for path in sorted((pfs / "images").iterdir()):
        with Image.open(path) as picture:
            smooth = ImageOps.grayscale(picture).filter(ImageFilter.MedianFilter(KERNEL))
        # The outermost pixels have no neighbours to differ from.
        edges = ImageOps.expand(ImageOps.crop(smooth.filter(ImageFilter.FIND_EDGES), 1), 1)
        ImageOps.autocontrast(edges, cutoff=(0, 1)).save(pfs / "out" / f"{path.stem}.png")
        print(f"{path.name}: {edges.width} x {edges.height}")


if __name__ == "__main__":
    # Where the system does not let /pfs be made, it is another folder, which PFS_ROOT names.
    main(Path(os.environ.get("PFS_ROOT", "/pfs")))
