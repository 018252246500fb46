#!/usr/bin/env bash
# Times Stable Diffusion 1.5 in fp16 on a machine with an NVIDIA GPU, ours and the peers in turns, and writes the results.
#
#   benchmarks/gpu.sh                         CUDA 13 and python3 with torch, onnx, onnxscript and transformers
#   WHEELS=folder benchmarks/gpu.sh           what is missing is installed from there, without a network
#   SMALL=1 benchmarks/gpu.sh                 a tiny model on the CPU, to see that everything runs; so too without a GPU
#
# Also: PYTHON (python3), WORK (where the model is written, gpu-work), OUT (where results go, benchmarks/results),
# SIZES ("512 768 1024"), ROUNDS (10), STEPS (20). benchmarks/README.md says how the folder of wheels is made; large ones may lie there in pieces,
# cut by `split FILE FILE.part-`.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3} WORK=${WORK:-gpu-work} OUT=${OUT:-benchmarks/results} WHEELS=${WHEELS:-}
ROUNDS=${ROUNDS:-10} STEPS=${STEPS:-20}
mkdir -p "$WORK" "$OUT"

if [ -z "${SMALL:-}" ] && ! nvidia-smi >/dev/null 2>&1; then
    echo "!!! No NVIDIA GPU here: running the tiny model on the CPU. The figures say nothing about speed." >&2
    SMALL=1
fi
if [ -n "${SMALL:-}" ]; then
    model=tiny precision=fp32 sizes=${SIZES:-64 96 128} name=small note="SMALL: a tiny model on the CPU; says nothing about speed."
    # Compiling by torch's own autotuning takes minutes on a CPU.
    sides="ours:ort-cpu:fp32 diffusers:cpu:fp32 diffusers:cpu:fp32:compile=aot_eager"
    backends="ort-cpu"
else
    model=sd15 precision=fp16 sizes=${SIZES:-512 768 1024} note=""
    name=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1 | tr -cs 'A-Za-z0-9' - | sed 's/-*$//' | tr A-Z a-z)
    sides="ours:ort-cuda:auto ours:ort-cuda:auto:cuda_graph=false diffusers:cuda:fp16 diffusers:cuda:fp16:compile=true"
    backends="ort-cuda"
fi
# Those that cannot run here are left out, and the result says why.
sides="$sides ours:ort-tensorrt:auto ours:tensorrt:auto ours:tensorrt-rtx:auto"

echo "== What is missing"
needed="numpy:numpy PIL:pillow tokenizers:tokenizers click:click tqdm:tqdm diffusers:diffusers accelerate:accelerate
    onnxruntime:onnxruntime-gpu[cuda,cudnn]"
[ -n "${SMALL:-}" ] || needed="$needed cuda:cuda-python tensorrt_rtx_bindings:tensorrt-rtx-cu13-bindings"
missing=""
for each in $needed; do
    "$PYTHON" -c "import ${each%%:*}" 2>/dev/null || missing="$missing ${each#*:}"
done
if [ -n "$missing" ]; then
    echo "installing:$missing"
    "$PYTHON" -m venv --system-site-packages "$WORK/venv"
    PYTHON=$WORK/venv/bin/python
    if [ -n "$WHEELS" ]; then
        for first in "$WHEELS"/*.part-aa; do
            [ -e "$first" ] && cat "${first%aa}"* >"${first%.part-aa}"
        done
        "$PYTHON" -m pip install --no-index --find-links "$WHEELS" $missing
    else
        "$PYTHON" -m pip install $missing
    fi
fi
export PYTHONPATH=$PWD:$PWD/export

echo "== The model, $model"
[ -e "$WORK/$model/engines/engine_set.json" ] || "$PYTHON" -m benchmarks.models $model "$WORK/$model" --precision $precision

echo "== TensorRT"
for flavour in rtx full; do
    "$PYTHON" -c "from outpaint_export.commands.cli import main; exit(main())" tensorrt "$WORK/$model/engines" --flavour $flavour --batch 2 \
        --sizes "$(for size in $sizes; do echo ${size}x$size; done | paste -sd,)" ||
        echo "!!! No plans of flavour $flavour: see above." >&2
done

# Batch 2: the two rows of a UNet call with guidance.
for size in $sizes; do
    echo "== ${size}x$size"
    "$PYTHON" -m benchmarks.compare --checkpoint "$WORK/$model/diffusers" --engines "$WORK/$model/engines" \
        $(for side in $sides; do echo --side $side; done) --leave-out-failing --size ${size}x$size \
        --steps "$STEPS" --rounds "$ROUNDS" --warmup 2 --note "$note" --out "$OUT/gpu-$name-$size.json"
    for backend in $backends; do
        "$PYTHON" -m outpaint_engine bench --engines "$WORK/$model/engines" --device $backend \
            --width $size --height $size --steps "$STEPS" --out "$OUT/gpu-$name.jsonl"
    done
done
