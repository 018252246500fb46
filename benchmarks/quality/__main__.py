"""Quality against time: how far each setting is from its own exact run and from many steps, and what it costs.

    python -m benchmarks.quality DDIM:25 DDIM:25:reuse=careful UniPC:15 --out curve.json --plot curve.png
    python -m benchmarks.quality --engines sd15 --pictures photos DDIM:25 DDIM:25:reuse=fast --out mine.json

PSNR of the painted area only; CPU seconds of one thread, so that other work on the machine counts little. Exact runs
are kept (--kept) and read again: delete that folder after a change to the engine or the samplers. Each setting is also
compared with 200 steps of DDIM, or as many as `--reference` says.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from outpaint_engine import EngineOptions, OutpaintPipeline
from outpaint_engine.bench.environment import read_environment

from .cases import EXTENDED, folder_cases, scene_cases
from .measure import Painter, summary
from .plot import write_plot
from .settings import Setting

OWN, MANY = "to_its_exact_run", "to_many_steps"


def main() -> None:
    given = _arguments()
    options = EngineOptions(threads=1)
    with OutpaintPipeline.from_pretrained(given.engines, device=given.device, options=options) as pipe:
        side = given.side or pipe.models.engine_set.native_size
        cases = list(
            folder_cases(given.pictures, side, given.extend)
            if given.pictures
            else scene_cases(given.scenes, side, given.extend)
        )
        painter, runs = Painter(pipe, given.kept), []
        content = {
            "pictures": len(cases),
            "canvas": [cases[0].fields["width"], cases[0].fields["height"]],
            "reference_steps": given.reference,
            "engine_set": pipe.models.engine_set.digest,
            "environment": asdict(read_environment()),
            "runs": runs,
        }
        for guidance in given.guidance:
            for setting in given.settings:
                runs.append(_measured(painter, cases, setting, guidance, given.reference))
                _show(runs[-1])
                given.out.write_text(_lines(content), encoding="utf-8")
    if given.plot:
        write_plot(content, given.plot)


def _measured(painter: Painter, cases: list, setting: Setting, guidance: float, reference: int) -> dict[str, Any]:
    compared = {OWN: setting.exact}
    if reference:
        compared[MANY] = Setting.read(f"DDIM:{reference}")
    bar = tqdm(cases, desc=f"{setting.text} at {guidance:g}", leave=False)
    found = [painter.paint(case, setting, guidance) for case in bar]
    references = {name: [painter.paint(case, other, guidance) for case in cases] for name, other in compared.items()}
    if setting.exact == setting:
        del references[OWN]
    return {"setting": setting.text, "guidance_scale": guidance, **summary(found, references)}


def _show(run: dict[str, Any]) -> None:
    text = f"{run['setting']:32}{run['guidance_scale']:5g}{run['cpu_seconds']:8.2f} s  {run['whole_calls']:9}"
    for name in (OWN, MANY):
        if name in run:
            text += f"  {name} {run[name]['mean']:.1f} (worst {run[name]['worst']:.1f})"
    print(text, flush=True)


def _lines(content: dict[str, Any]) -> str:
    """JSON with one line a run."""
    runs = ",\n".join(f"  {json.dumps(run)}" for run in content["runs"])
    head = json.dumps({**content, "runs": []}, indent=1)
    return head.replace('"runs": []', f'"runs": [\n{runs}\n ]') + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="+", type=Setting.read, help="SCHEDULER:STEPS[:OPTION=VALUE...]")
    parser.add_argument("--engines", default="demo", help="an engine set's folder")
    parser.add_argument("--device", default="ort-cpu")
    parser.add_argument("--pictures", type=Path, help="a folder of pictures in place of the demo's held-out scenes")
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--side", type=int, help="of the square that is cut up, in pixels [the set's native size]")
    parser.add_argument("--extend", choices=EXTENDED, default="sides")
    parser.add_argument("--guidance", type=float, nargs="+", default=[2.5, 7.5])
    parser.add_argument("--reference", type=int, default=200, help="steps of DDIM to compare with as well; 0 is none")
    parser.add_argument("--kept", type=Path, default=Path(".quality_cache"), help="where exact runs are kept")
    parser.add_argument("--out", type=Path, required=True, help="the result file, JSON")
    parser.add_argument("--plot", type=Path, help="also draw quality against time (extra `plot`)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
