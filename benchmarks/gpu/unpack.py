"""Installs what `pack.py` made into one folder, on the machine without a network.

python -m benchmarks.gpu.unpack PACKED SITE
"""

import subprocess
import sys
import tarfile
from pathlib import Path


def main(packed: Path, site: Path) -> None:
    site.mkdir(parents=True, exist_ok=True)
    wheels = [str(path) for path in packed.glob("*.whl")]
    offline = ("--no-index", "--no-deps", "--no-compile", "--upgrade", "--target", str(site))
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *offline, *wheels], check=True)
    # Last: it is how the next call sees that all of it is there.
    with tarfile.open(packed / "onnxruntime.tar.xz") as archive:
        archive.extractall(site, filter="data")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
