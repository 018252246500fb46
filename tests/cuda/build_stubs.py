"""Builds libraries that stand in for CUDA, cuBLAS, cuDNN and their kin under an installed onnxruntime-gpu.

    python -m tests.cuda.build_stubs FOLDER      (gcc, nm; nvidia-cuda-runtime and nvidia-cuda-crt for the headers)

What the provider decides on the host is real with them: which nodes it takes, which kernels it chooses, what it binds,
copies, records and launches. Nothing is computed. `stubs/` holds what must answer something; every other function
that the provider imports gets one that says "done".
"""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

STUBS = Path(__file__).parent / "stubs"
RUNTIME = "libcudart.so.13"
LIBRARIES = {
    RUNTIME: "runtime.c",
    "libcublas.so.13": "blas.c",
    "libcublasLt.so.13": "blas.c",
    "libcudnn.so.9": "dnn.c",
    "libcufft.so.12": "",
    "libcurand.so.10": "",
}
LINKS = {"libcuda.so.1": RUNTIME, "libcudnn.so": "libcudnn.so.9"}
"""Further names that libraries are opened by."""
DEFINED = re.compile(r"^[a-z_][^(\n]*?(\w+)\(", re.M)
LOOKED_UP = {"libcudnn.so.9": rb"\bcudnn[A-Z]\w+", "libcufft.so.12": rb"\bcufft[A-Z]\w+"}
"""Libraries whose functions the provider looks up by name when it first needs them."""


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    provider = package("onnxruntime") / "capi" / "libonnxruntime_providers_cuda.so"
    headers = package("nvidia") / "cu13" / "include"
    wanted = imported(provider)
    content = provider.read_bytes()
    for library, pattern in LOOKED_UP.items():
        wanted.setdefault(library, set()).update(name.decode() for name in set(re.findall(pattern, content)))
    for library, source in LIBRARIES.items():
        build(folder, library, source, wanted.get(library, set()), headers)
    for name, library in LINKS.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(library)


def package(name: str) -> Path:
    """The folder of an installed package."""
    found = importlib.util.find_spec(name)
    places = found.submodule_search_locations if found else None
    if not places:
        raise SystemExit(f"{name} is not installed here.")
    return Path(list(places)[0])


def imported(provider: Path) -> dict[str, set[str]]:
    """The functions that the provider takes from each library, as its symbols' versions tell."""
    done = subprocess.run(["nm", "-D", "--undefined-only", str(provider)], capture_output=True, text=True, check=True)
    found: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        name, _, library = line.split()[-1].partition("@")
        if library:
            found.setdefault(library.strip("@"), set()).add(name)
    return found


def build(folder: Path, library: str, source: str, wanted: Collection[str], headers: Path) -> None:
    """Compile one library: its source, and functions that do nothing for what is left."""
    written = (STUBS / source).read_text() if source else ""
    defined = set(DEFINED.findall(written))
    rest = [name for name in sorted(wanted) if name not in defined]
    path = folder / f"{library}.c"
    path.write_text(f"#include <stdlib.h>\n{written}\n" + "\n".join(map(empty, rest)) + "\n")
    command = ["gcc", "-w", "-shared", "-fPIC", f"-I{headers}", f"-I{STUBS}", f"-Wl,-soname,{library}"]
    # All of them write to the one trace, which the first has.
    trace = [] if library == RUNTIME else [str(folder / RUNTIME)]
    subprocess.run([*command, str(path), *trace, "-o", str(folder / library)], check=True)


def empty(name: str) -> str:
    """A function that succeeds; one that creates something gives it a place."""
    if name.startswith("cudnnCreate"):
        return f"int {name}(void **made) {{ *made = malloc(64); return 0; }}"
    return f"int {name}(void) {{ return 0; }}"


if __name__ == "__main__":
    main()
