"""The command line as a user meets it: a real process, its exit code, its sentences, the files it leaves."""

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from outpaint_engine.images import open_original

from ..made_pictures import Profile

TINY = Path(__file__).parents[1] / "goldens" / "tiny-9"
QUICK = ("--engines", str(TINY), "--steps", "2", "--seed", "1")
PHOTO = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)


def huge_png() -> bytes:
    """A valid header of 20,000 x 20,000 pixels and hardly any data."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def outpaint(*arguments: str, cwd: Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "outpaint_engine", *arguments]
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, timeout=120, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with photo.png, and some files that are no usable pictures."""
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    Image.fromarray(PHOTO).convert("CMYK").save(tmp_path / "cmyk.jpg")
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "animated.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "huge.png").write_bytes(huge_png())
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "truncated.png").write_bytes((tmp_path / "photo.png").read_bytes()[:500])
    broken = tmp_path / "broken"
    shutil.copytree(TINY, broken)
    content = bytearray((broken / "unet" / "model.onnx").read_bytes())
    content[1000] ^= 1
    (broken / "unet" / "model.onnx").write_bytes(content)
    return tmp_path


REFUSED = [
    (("text.png", "out.png", "--left", "16"), 5, "not a picture"),
    (("truncated.png", "out.png", "--left", "16"), 5, "damaged"),
    (("animated.gif", "out.png", "--left", "16"), 5, "animated"),
    (("photo.png", "out.png", "--left", "16", "--embeddings", "text.png"), 5, "not a whole safetensors file"),
    (("nowhere.png", "out.png", "--left", "16"), 5, "No such file"),
    (("huge.png", "out.png", "--left", "16"), 5, "more than 50,000,000 pixels"),
    (("photo.png", "out.png", "--width", "100", "--height", "64"), 5, "the nearest are 96 or 104"),
    (("photo.png", "out.png", "--left", "16", "--steps", "0"), 5, "num_inference_steps"),
    (("photo.png", "out.png", "--left", "16", "--strength", "2"), 5, "strength must be a number from 0 to 1"),
    (("photo.png", "out.png", "--left", "16", "--guidance-scale", "nan"), 5, "guidance_scale must be a number"),
    (("photo.png", "out.png", "--left", "16", "-p", "(sea:99)"), 5, "weights go from 0 to 10"),
    (("photo.png", "out.png", "--left", "16", "--clip-skip", "1"), 4, "Export the checkpoint again"),
    (("photo.png", "out.png", "--left", "16", "--guidance-interval", "0.8", "0.2"), 5, "end before it begins"),
    (("photo.png", "out.png", "--left", "16", "--batch", "0"), 2, "--batch"),
    (("photo.png", "out.png", "--width", "64", "--height", "48"), 5, "Nothing is left to paint"),
    (("photo.png", "out.png", "--left", "16", "--engines", "nowhere"), 4, "no engine set at 'nowhere'"),
    (("photo.png", "out.png", "--left", "16", "--engines", "broken"), 4, "broken/unet/model.onnx is not the file"),
    (("photo.png", "out.png", "--left", "16", "--device", "npu"), 3, "no backend 'npu'"),
    (("photo.png", "out.png", "--left", "16", "--device", "cpu", "--precision", "bf16"), 3, "not in bf16"),
    (("photo.png", "out.png", "--left", "16", "--precision", "fp8"), 2, "--precision"),
    (("photo.png", "out.png", "--left", "16", "--threads", "0"), 2, "--threads"),
    (("photo.png", "missing/out.png", "--left", "16"), 2, "folder 'missing' does not exist"),
    (("photo.png", "out.txt", "--left", "16"), 2, "OUT must end in"),
    (("photo.png", "out.png"), 2, "Say how far to extend"),
    (("photo.png", "out.png", "--left", "16", "--aspect", "1:1"), 2, "in one way, not several"),
    (("photo.png", "out.png", "--left", "many"), 2, "not a valid integer"),
    (("photo.png", "out.png", "--width", "128"), 2, "--width and --height are needed together"),
    (("photo.png", "out.png", "--left", "20000"), 5, "The canvas would be 20064x48, and a side has at most 16384"),
    (("photo.png", "out.png", "--aspect", "20:1", "--scale", "60"), 5, "and a side has at most 16384 pixels"),
    (("photo.png", "out.png", "--left", "16", "--anchor", "left"), 2, "in one way, not several"),
    (("photo.png", "-", "--left", "16", "--num-images", "2"), 2, "cannot go to standard output"),
    (
        ("photo.png", "out.png", "--width", "128", "--height", "64", "--scale", "99999"),
        5,
        "scale must be a number from 0.01 to 100",
    ),
]


@pytest.mark.parametrize(("arguments", "code", "words"), REFUSED)
def test_bad_input_gets_one_sentence_and_its_exit_code_and_leaves_no_file(
    folder: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    before = sorted(folder.rglob("*"))
    defaults = () if "--engines" in arguments else ("--engines", str(TINY))
    done = outpaint("run", *arguments, *defaults, cwd=folder)
    error = done.stderr.decode()
    assert done.returncode == code, error
    assert words in error
    assert "Traceback" not in error and len(error.strip().splitlines()[-1]) < 400
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("source", ["photo.png", "cmyk.jpg"])
def test_run_writes_the_wider_picture(folder: Path, source: str) -> None:
    done = outpaint("run", source, "out.png", "--left", "16", "--right", "16", *QUICK, cwd=folder)
    assert done.returncode == 0, done.stderr
    with Image.open(folder / "out.png") as image:
        assert image.size == (96, 48)
    assert b"seed 1" in done.stderr and b"\r" not in done.stderr


def test_a_prompt_of_several_chunks_is_noted(folder: Path) -> None:
    done = outpaint("run", "photo.png", "out.png", "--left", "16", "-p", "sea " * 90, *QUICK, cwd=folder)
    assert done.returncode == 0
    assert b"Note: The prompt has 90 tokens and is encoded in 2 chunks of 75." in done.stderr


def test_an_empty_prompt_is_legal(folder: Path) -> None:
    assert outpaint("run", "photo.png", "out.png", "--left", "16", "-p", "", *QUICK, cwd=folder).returncode == 0


def test_the_png_carries_the_request_unless_told_otherwise(folder: Path) -> None:
    outpaint("run", "photo.png", "out.png", "--left", "16", "-p", "the sea", *QUICK, cwd=folder)
    outpaint("run", "photo.png", "bare.png", "--left", "16", "-p", "the sea", "--no-metadata", *QUICK, cwd=folder)
    with Image.open(folder / "out.png") as image:
        settings = "Steps: 2, Sampler: DDIM, CFG scale: 7.5, Seed: 1, Size: 80x48"
        assert image.text["parameters"].startswith(f"the sea\n{settings}")
        facts = json.loads(image.text["outpaint_engine"])
        assert (facts["prompt"], facts["seed"], facts["offset_x"]) == ("the sea", 1, 16)
        assert "compositeWithTrainedAlgorithmicMedia" in image.text["XML:com.adobe.xmp"]
    with Image.open(folder / "bare.png") as image:
        assert not image.text


def test_reuse_and_the_calls_it_made_are_noted_reported_and_in_the_picture(folder: Path) -> None:
    asked = ("--left", "16", "--steps", "4", "--seed", "1", "--device", "ort-cpu", "--reuse", "3", "--json")
    done = outpaint("run", "photo.png", "out.png", *asked, cwd=folder)
    assert b"Note: reuse: the UNet was run whole in 2 of 4 calls" in done.stderr
    assert json.loads(done.stdout)["whole_unet_calls"] == "2 of 4"
    with Image.open(folder / "out.png") as image:
        assert "Whole UNet calls: 2 of 4," in image.text["parameters"]
        assert json.loads(image.text["outpaint_engine"])["reuse"]["every"] == 3


def test_several_images_are_numbered_and_reported_as_json(folder: Path) -> None:
    done = outpaint("run", "photo.png", "out.jpg", "--top", "16", "--num-images", "2", "--json", *QUICK, cwd=folder)
    report = json.loads(done.stdout)
    assert report["seeds"] == [1, 2]
    assert report["timings"]["rows"] == [4, 4] and len(report["timings"]["steps"]) == 2
    assert [quality["changed_pixels"] for quality in report["quality"]] == [0, 0]
    assert (folder / "out-1.jpg").exists() and (folder / "out-2.jpg").exists()


def test_a_dash_is_standard_input_and_output(folder: Path) -> None:
    done = outpaint("run", "-", "-", "--left", "16", *QUICK, cwd=folder, stdin=(folder / "photo.png").read_bytes())
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.size == (80, 48)


def without(number: int, command: list[str], cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run with a closed standard stream."""
    shell = ["sh", "-c", f'exec "$@" {number}{"<" if number == 0 else ">"}&-', "sh", *command]
    return subprocess.run(shell, cwd=cwd, capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("number", "arguments", "words"),
    [
        (0, ("-", "out.png"), b"Standard input is closed"),
        (1, ("photo.png", "-"), b"Standard output is closed"),
        (1, ("photo.png", "out.png", "--json"), b"Standard output is closed"),
    ],
)
def test_a_closed_stream_is_said_before_painting(
    folder: Path, number: int, arguments: tuple[str, ...], words: bytes
) -> None:
    command = [sys.executable, "-m", "outpaint_engine", "run", *arguments, "--left", "16", *QUICK]
    done = without(number, command, folder)
    assert done.returncode == 2 and words in done.stderr and b"Traceback" not in done.stderr
    assert not (folder / "out.png").exists()


def test_a_closed_standard_error_does_not_get_into_the_picture(folder: Path) -> None:
    command = [sys.executable, "-m", "outpaint_engine", "run", "photo.png", "out.png", "--left", "16", *QUICK]
    assert without(2, command, folder).returncode == 0
    with Image.open(folder / "out.png") as image:
        image.load()
        assert image.size == (80, 48)


@pytest.mark.parametrize("what", ["pipe", "read-only"])
def test_an_output_that_must_not_be_replaced_is_refused_before_painting(folder: Path, what: str) -> None:
    if what == "pipe":
        os.mkfifo(folder / "out.png")
    else:
        shutil.copy(folder / "photo.png", folder / "out.png")
        (folder / "out.png").chmod(0o444)
    mode = (folder / "out.png").stat().st_mode
    # The engine set is not looked at: no such set exists.
    done = outpaint("run", "photo.png", "out.png", "--left", "16", "--engines", "nowhere", cwd=folder)
    words = {"pipe": b"out.png cannot be written: it is not a file", "read-only": b"out.png is read-only"}[what]
    assert done.returncode == 1 and words in done.stderr
    assert (folder / "out.png").stat().st_mode == mode


def test_standard_input_without_end_is_refused_at_its_first_bytes(folder: Path) -> None:
    command = [sys.executable, "-m", "outpaint_engine", "plan", "-", "--left", "16"]
    with open("/dev/zero", "rb") as endless:
        done = subprocess.run(command, cwd=folder, stdin=endless, capture_output=True, timeout=60, check=False)
    assert done.returncode == 5 and b"Standard input is not a picture" in done.stderr


@pytest.mark.parametrize("name", ["out.tif", "out.png"])
def test_a_16_bit_original_keeps_its_samples_and_profile_unless_told_otherwise(folder: Path, name: str) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (48, 64, 3)).astype(np.uint16)
    profile = Profile(2.2, "p3").content(grey=False)
    tifffile.imwrite(folder / "deep.tif", samples, photometric="rgb", iccprofile=profile)
    done = outpaint("run", "deep.tif", name, "--left", "16", *QUICK, cwd=folder)
    assert done.returncode == 0, done.stderr
    kept = open_original(str(folder / name))
    assert kept is not None and kept.profile == profile
    assert np.array_equal(kept.samples[:, 24:], samples[:, 8:])
    if name == "out.png":
        outpaint("run", "deep.tif", name, "--left", "16", "--srgb", *QUICK, cwd=folder)
        assert open_original(str(folder / name)) is None


def test_plan_needs_no_engine_set_and_says_what_would_be_painted(folder: Path) -> None:
    done = outpaint("plan", "photo.png", "--left", "64", "--json", "--mask", "mask.png", cwd=folder)
    plan = json.loads(done.stdout)
    assert plan["canvas"] == [128, 48] and plan["unknown_share"] == 0.5
    with Image.open(folder / "mask.png") as mask:
        assert mask.size == (128, 48)


def test_schedulers_are_listed_and_taken_by_name_or_alias(folder: Path) -> None:
    listed = json.loads(outpaint("schedulers", "--json", cwd=folder).stdout)
    assert "Euler a" in [row["name"] for row in listed]
    assert b"DPM++ 2M" in outpaint("schedulers", cwd=folder).stdout
    done = outpaint("run", "photo.png", "out.png", "--left", "16", "--scheduler", "euler_a", *QUICK, cwd=folder)
    assert done.returncode == 0, done.stderr
    with Image.open(folder / "out.png") as image:
        assert "Sampler: Euler a," in image.text["parameters"]


def test_what_ran_is_in_the_report_and_in_the_picture(folder: Path) -> None:
    chosen = ("--left", "16", "--device", "ort-cpu", "--precision", "fp32", "--threads", "1", "--json")
    report = json.loads(outpaint("run", "photo.png", "out.png", *chosen, *QUICK, cwd=folder).stdout)
    assert (report["backend"], report["device"], report["precision"]) == ("ort-cpu", "cpu", "fp32")
    with Image.open(folder / "out.png") as image:
        assert json.loads(image.text["outpaint_engine"])["backend"] == "ort-cpu"


def test_a_gpu_that_is_not_there_is_exit_code_3_with_reason_and_pip_line_and_no_picture(folder: Path) -> None:
    devices = {row["name"]: row for row in json.loads(outpaint("devices", "--json", cwd=folder).stdout)}
    if devices["ort-cuda"]["usable"]:
        pytest.skip("this machine has a GPU that works")
    done = outpaint("run", "photo.png", "out.png", "--left", "16", "--device", "cuda", *QUICK, cwd=folder)
    assert done.returncode == 3
    assert devices["ort-cuda"]["reason"].encode() in done.stderr and b"pip install" in done.stderr
    assert not (folder / "out.png").exists()


def test_devices_and_engines_describe_this_machine(folder: Path) -> None:
    assert json.loads(outpaint("devices", "--json", cwd=folder).stdout)[-1]["name"] == "ort-cpu"
    assert b"all as exported" in outpaint("engines", "verify", str(TINY), cwd=folder).stdout
    assert b"tiny-9" in outpaint("engines", "info", str(TINY), cwd=folder).stdout
    assert b"broken" in outpaint("engines", "list", cwd=folder).stdout
    (folder / "broken" / "engine_set.json").write_text("{}")
    assert b"broken: " in outpaint("engines", "list", cwd=folder).stdout


def test_the_source_of_noise_is_chosen_and_said(folder: Path) -> None:
    chosen = ("--left", "16", "--noise", "torch-cuda", "--json")
    done = outpaint("run", "photo.png", "out.png", *chosen, *QUICK, cwd=folder)
    assert json.loads(done.stdout)["noise"] == "torch-cuda"
    with Image.open(folder / "out.png") as image:
        assert json.loads(image.text["outpaint_engine"])["noise"] == "torch-cuda"


def test_engines_info_says_how_close_whole_runs_were_to_diffusers(folder: Path) -> None:
    assert b"whole runs not measured" in outpaint("engines", "info", "broken", cwd=folder).stdout
    facts = json.loads(outpaint("engines", "info", "broken", "--json", cwd=folder).stdout)
    worst = {"latent_error": 2e-3, "within_one_level": 0.9985}
    parity = {"engine_set": facts["digest"], "reference": "diffusers", "kept": False, "worst": worst, "cases": [{}]}
    (folder / "broken" / "parity.json").write_text(json.dumps(parity))
    told = outpaint("engines", "info", "broken", cwd=folder).stdout
    assert b"1 runs beside diffusers: latents within 2.0e-03, at least 99.85% of pixel values" in told
    assert b"BOUNDS MISSED" in told


def test_a_terminal_shows_a_progress_bar_and_ctrl_c_stops_at_once_without_a_file(folder: Path) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "outpaint_engine", "run", "photo.png", "out.png", "--left", "16"]
    process = subprocess.Popen(
        [*command, "--engines", str(TINY), "--steps", "1000"],
        cwd=folder,
        stderr=slave,
        stdout=subprocess.DEVNULL,
        # Test runs started in the background ignore Ctrl-C, and children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(slave)
    seen = b""
    while b"painting" not in seen or b"/1000" not in seen:
        seen += os.read(master, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    with contextlib.suppress(OSError):  # reading on after the other end was closed
        while more := os.read(master, 4096):
            seen += more
    os.close(master)
    steps_shown = [int(step) for step in re.findall(rb"(\d+)/1000", seen)]
    assert steps_shown[-1] < 1000
    assert not (folder / "out.png").exists()


EXAMPLES = {
    "run": "outpaint run photo.png square.png --aspect 1:1",
    "bench": "outpaint bench --device cpu --plot bench.png",
    "serve": "outpaint serve",
}


@pytest.mark.parametrize("command", EXAMPLES)
def test_help_shows_each_example_on_a_line_of_its_own(command: str, tmp_path: Path) -> None:
    lines = outpaint(command, "--help", cwd=tmp_path).stdout.decode().splitlines()
    assert any(line.strip().startswith(EXAMPLES[command]) for line in lines)
