"""Packs what a GPU machine without a network lacks, small enough to be carried there with this checkout.

    python -m benchmarks.gpu.pack --python 3.12 --architecture 90        into gpu-work/packed; some minutes

onnxruntime-gpu is 256 MB; with the kernels of one architecture alone and without what is not used here, about 46 MB.
The machine must have CUDA 13 and cuDNN 9 as torch brings them, torch, transformers, onnx and onnxscript.
"""

import argparse
import lzma
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from .slim import keep_architecture

RUNTIME = "onnxruntime-gpu"
WHEELS = ("diffusers>=0.42.1,<0.43", "importlib_metadata", "accelerate>=1.10,<2", "onnx-ir>=1.0,<2", "click>=8.1,<9")
TESTING = ("pytest>=9,<10", "pluggy", "iniconfig")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64", "any")
PROVIDER = "onnxruntime/capi/libonnxruntime_providers_cuda.so"
LEFT_OUT = ("onnxruntime/transformers", "onnxruntime/tools", "onnxruntime/quantization", "onnxruntime/datasets")
LEFT_OUT_FILES = ("libonnxruntime.so.", "libonnxruntime_providers_tensorrt.so")
MOST = 64 * 2**20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.pack", description="Pack for a GPU machine.")
    parser.add_argument("--python", default="3.12", help="of that machine; 3.12")
    parser.add_argument("--architecture", type=int, default=90, help="of that GPU, 90 for H100 and H200; 90")
    parser.add_argument("--runtime", default="1.31.1", help="version of onnxruntime-gpu; 1.31.1")
    parser.add_argument("--out", type=Path, default=Path("gpu-work/packed"))
    given = parser.parse_args()
    scratch = given.out.parent / "packing"
    for folder in (given.out, scratch / "wheel"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    download(scratch, given.python, (f"{RUNTIME}=={given.runtime}",))
    download(given.out, given.python, (*WHEELS, *TESTING))
    with zipfile.ZipFile(next(scratch.glob("onnxruntime_gpu-*.whl"))) as wheel:
        wheel.extractall(scratch / "wheel")
    provider = scratch / "wheel" / PROVIDER
    kept, zeroed = keep_architecture(provider, given.architecture, provider)
    print(f"{kept / 1e6:.0f} MB of kernels kept, {zeroed / 1e6:.0f} MB left out")
    compress(scratch / "wheel", given.out / "onnxruntime.tar.xz")
    return weighed(given.out)


def download(folder: Path, python: str, names: tuple[str, ...]) -> None:
    """Wheels for that Python on x86-64 Linux, without what they need themselves."""
    kind = ("--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python)
    platforms = [option for name in PLATFORMS for option in ("--platform", name)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *kind, *platforms, "--dest", str(folder), *names]
    subprocess.run(command, check=True)


def compress(folder: Path, out: Path) -> None:
    """What of an unpacked wheel is used here, as one archive."""

    def used(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        unused = member.name.startswith(LEFT_OUT) or Path(member.name).name.startswith(LEFT_OUT_FILES)
        return None if unused else member

    with lzma.open(out, "wb", preset=7) as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
        for each in sorted(folder.iterdir()):
            archive.add(each, each.name, filter=used)


def install(packed: Path, site: Path) -> None:
    """Install what was packed into one folder, on the machine without a network."""
    site.mkdir(parents=True, exist_ok=True)
    offline = ("--no-index", "--no-deps", "--no-compile", "--upgrade", "--target", str(site))
    wheels = [str(path) for path in packed.glob("*.whl")]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *offline, *wheels], check=True)
    # Last: it is how the next call sees that all of it is there.
    with tarfile.open(packed / "onnxruntime.tar.xz") as archive:
        archive.extractall(site, filter="data")


def weighed(packed: Path) -> int:
    """Say how much the checkout and what was packed come to; 1 if it is too much."""
    tracked = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True).stdout.split("\0")
    tree = sum(Path(name).stat().st_size for name in tracked if name and Path(name).is_file())
    carried = sum(each.stat().st_size for each in packed.iterdir())
    print(f"checkout {tree / 1e6:.1f} MB + packed {carried / 1e6:.1f} MB = {(tree + carried) / MOST:.0%} of 64 MiB")
    if tree + carried > MOST:
        print("Too large to carry: README.md beside this file says what to leave out on a branch of its own.")
    return int(tree + carried > MOST)


if __name__ == "__main__":
    sys.exit(main())
