"""The colours of latents are fitted at export, and by `adopt` for a set that has none; torch is not needed for it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from outpaint_export.adopting import adopt
from outpaint_export.latent_colours import fit_latent_colours

from outpaint_engine.engine_set import MANIFEST, PARITY, EngineSet, demo_folder


def test_adopting_adds_them_to_a_set_that_has_none_and_changes_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(demo_folder(), folder)
    stated = json.loads((folder / MANIFEST).read_text())
    bare = {name: value for name, value in stated.items() if name != "latent_colours"}
    (folder / MANIFEST).write_text(json.dumps(bare))
    parity = json.loads((folder / PARITY).read_text()) | {"engine_set": EngineSet.open(folder, verify=False).digest}
    (folder / PARITY).write_text(json.dumps(parity))
    adopted = adopt(folder)
    written = json.loads((folder / MANIFEST).read_text())
    assert {name: value for name, value in written.items() if name != "latent_colours"} == bare
    assert adopted.parity["kept"] == parity["kept"]
    assert written["latent_colours"] == fit_latent_colours(folder, adopted.latent_scale)
    assert written["latent_colours"]["psnr"] > 15


def test_the_fit_needs_no_torch() -> None:
    code = "import sys, outpaint_export.adopting; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
