"""The steps of `benchmarks.gpu`: none of them ends the others, and none that is done is run again."""

import json
import os
import time
from pathlib import Path

import pytest

from benchmarks.gpu.running import Records, run_steps
from benchmarks.gpu.steps import MODEL, Plan, Step, planned

LONG = 30


def step(name: str, code: str, *, seconds: int = LONG, needs_model: bool = False) -> Step:
    return Step(name, "", seconds, ("-c", code), needs_model)


def ended(folder: Path, *steps: Step, seconds: float = 60) -> dict[str, str]:
    records = Records(folder)
    run_steps(steps, records, folder, seconds)
    kept = json.loads((folder / "steps.json").read_text())
    return {name: found["ended"] for name, found in kept.items()}


def test_a_step_that_fails_or_is_late_is_written_down_and_the_next_begins(tmp_path: Path) -> None:
    late = step("late", "import time; time.sleep(60)", seconds=1)
    found = ended(tmp_path, step("failed", "1 / 0"), late, step("done", "print('here')"))
    assert found == {"failed": "failed", "late": "late", "done": "done"}
    assert "ZeroDivisionError" in Records(tmp_path).steps["failed"]["said"]


def test_the_children_of_a_late_step_end_with_it(tmp_path: Path) -> None:
    child_of = "import subprocess; child = subprocess.Popen(['sleep', '60'])"
    told = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))"
    ended(tmp_path, step("late", f"{child_of}; {told}; child.wait()", seconds=2))
    child = int((tmp_path / "pid").read_text())
    time.sleep(0.2)
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_what_is_done_is_not_run_again_and_what_failed_is(tmp_path: Path) -> None:
    counted = f"open({str(tmp_path / 'runs')!r}, 'a').write('once ')"
    steps = step("done", counted), step("failed", f"{counted}; 1 / 0")
    for _ in range(2):
        ended(tmp_path, *steps)
    assert (tmp_path / "runs").read_text().split() == ["once"] * 3


def test_steps_that_need_no_model_run_while_it_is_made(tmp_path: Path) -> None:
    made = tmp_path / "made"
    model = step(MODEL, f"import time; time.sleep(2); open({str(made)!r}, 'w')")
    first = step("first", f"import os; assert os.path.exists({str(made)!r})", needs_model=True)
    second = step("second", f"import os; assert not os.path.exists({str(made)!r})")
    assert ended(tmp_path, model, first, second) == {"second": "done", MODEL: "done", "first": "done"}


def test_without_a_model_the_steps_that_need_it_say_so(tmp_path: Path) -> None:
    steps = step(MODEL, "1 / 0"), step("first", "1", needs_model=True), step("second", "1")
    assert ended(tmp_path, *steps) == {MODEL: "failed", "first": "failed", "second": "done"}


def test_nothing_is_begun_when_the_time_is_over(tmp_path: Path) -> None:
    run_steps((step("first", "1"),), Records(tmp_path), tmp_path, 5)
    assert not (tmp_path / "steps.json").exists()


@pytest.mark.parametrize("device", ["ort-cuda", "ort-cpu"])
@pytest.mark.parametrize("small", [False, True])
def test_every_step_has_a_name_of_its_own_and_a_module_that_is_there(device: str, small: bool, tmp_path: Path) -> None:
    steps = planned(Plan(device, small, tmp_path, tmp_path))
    assert len({each.name for each in steps}) == len(steps)
    root = Path(__file__).parents[3]
    modules = {each.command[1] for each in steps} - {"pytest"}
    places = [root / module.replace(".", os.sep) for module in modules]
    assert all(place.is_dir() or place.with_suffix(".py").is_file() for place in places)
