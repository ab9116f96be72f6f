"""Puts all pictures of /pfs/images and their edges in /pfs/edges side by side: /pfs/out/montage.png, a row a picture."""

import os
from pathlib import Path

from PIL import Image, ImageOps

WIDTH, HEIGHT, GAP = 480, 320, 8
BACKGROUND = "white"


def main(pfs: Path) -> None:
    pairs = [(path, pfs / "edges" / f"{path.stem}.png") for path in sorted((pfs / "images").iterdir())]
    montage = Image.new("RGB", (2 * WIDTH + 3 * GAP, len(pairs) * (HEIGHT + GAP) + GAP), BACKGROUND)
    for row, pair in enumerate(pairs):
        for column, path in enumerate(pair):
            with Image.open(path) as picture:
                fitted = ImageOps.pad(picture.convert("RGB"), (WIDTH, HEIGHT), color=BACKGROUND)
            montage.paste(fitted, (GAP + column * (WIDTH + GAP), GAP + row * (HEIGHT + GAP)))
    montage.save(pfs / "out" / "montage.png")
    print(f"{len(pairs)} pictures")


if __name__ == "__main__":
    # Where the system does not let /pfs be made, it is another folder, which PFS_ROOT names.
    main(Path(os.environ.get("PFS_ROOT", "/pfs")))
