#!/usr/bin/env bash
# All that needs a GPU, in one call of nine minutes: the tests of the CUDA kernels, the three benchmarks beside other
# libraries, and with the time left a piece of the `gpu` profile's training, which the next call goes on with.
#
#     PYTHON=python3 benchmarks/gpu.sh [--dry-run] [--out FOLDER] [--training FOLDER] [PART ...]
#
# PYTHON is .venv/bin/python unless it is set; folders are relative to the repository. Parts: tests ssim unet training
# piece; all of them in this order, unless some are named. Each has a time limit and writes its file to --out
# (results/reference/bench) as soon as it has it; one that fails doesn't stop the next. Heads for the training are grown
# meanwhile, on half of the cores; they and its checkpoint stay in --training (data/piece). --dry-run does the same on a
# CPU, as small as it can be, in a minute or two (results/dry-run, data/dry-run).
# The exit code is 0, or 1 if a part failed, or 2 if nothing could be begun.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

TOTAL=540 # seconds
refuse() { echo "$1" >&2; exit 2; }
python=${PYTHON:-.venv/bin/python} dry= out= training= parts=()
while (($#)); do
  case $1 in
    --dry-run) dry=yes ;;
    --out | --training)
      [[ $# -gt 1 ]] || refuse "$1: name a folder after it."
      [[ $1 == --out ]] && out=$2 || training=$2
      shift ;;
    tests | ssim | unet | training | piece) parts+=("$1") ;;
    *) refuse "$1: unknown; take --dry-run, --out, --training, or some of tests, ssim, unet, training, piece." ;;
  esac
  shift
done
((${#parts[@]})) || parts=(tests ssim unet training piece)
for program in "$python" timeout; do
  command -v "$program" >/dev/null || refuse "$program: no such program; set PYTHON to one, timeout is of GNU coreutils."
done

export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" TQDM_DISABLE=1 TQDM_MININTERVAL=15
if [[ $dry ]]; then
  export CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1
  device=cpu profile=smoke out=${out:-results/dry-run} training=${training:-data/dry-run}
  tests=(-k "fit or backend") ssim=(--sizes 24x24x20 --rounds 1) unet=(--sizes tiny --rounds 1)
  steps=(--profiles smoke --rounds 1)
else
  device=cuda profile=gpu out=${out:-results/reference/bench} training=${training:-data/piece}
  tests=() ssim=(--rounds 9) unet=(--rounds 3 --no-compile) # compiling six networks takes longer than all else
  steps=(--profiles laptop paper gpu)
  "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())" 2>/dev/null ||
    refuse "$python: its torch sees no GPU; set PYTHON to one whose torch does, or try --dry-run."
fi
mkdir -p "$out" "$training" && logs=$(mktemp -d) || exit 2
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$logs"' EXIT
touch "$logs/begin"

report=() failed=0
run() { # NAME SECONDS COMMAND: a part, under its limit; what it says is shown, and kept in NAME.log
  local name=$1 limit=$2 began=$SECONDS code how
  shift 2
  echo "=== $name, for at most $limit s"
  timeout --kill-after=10 "$limit" "$@" 2>&1 | tee "$logs/$name.log"
  code=${PIPESTATUS[0]}
  case $code in
    0) how="done" ;;
    124 | 137) how="FAILED: out of time" failed=1 ;;
    *) how="FAILED with code $code: $(grep -v '^ *$' "$logs/$name.log" | tail -n 1)" failed=1 ;;
  esac
  report+=("$(printf '%-9s %4d s  %s' "$name" $((SECONDS - began)) "$how")")
}

if [[ " ${parts[*]} " == *" piece "* && ! -f $training/settings.json ]]; then
  workers=$((($(nproc) + 1) / 2))
  nice -n 19 "$python" benchmarks/piece.py grow "$training" --profile $profile --workers $workers >"$logs/grow.log" 2>&1 &
fi
for part in "${parts[@]}"; do
  case $part in
    tests)
      run tests 110 "$python" -m pytest -q -p no:cacheprovider tests/kernels "${tests[@]}"
      tail -n 1 "$logs/tests.log" >"$out/tests_$device.txt" ;;
    ssim) run ssim 80 "$python" benchmarks/ssim.py --device $device --out "$out" "${ssim[@]}" ;;
    unet) run unet 240 "$python" benchmarks/unet.py --device $device --out "$out" "${unet[@]}" ;;
    training) run training 60 "$python" benchmarks/training.py --device $device --out "$out" "${steps[@]}" ;;
    piece)
      while [[ $(jobs -pr) ]] && ((SECONDS < TOTAL - 60)); do sleep 0.2; done # for the heads
      left=$((SECONDS < TOTAL - 50 ? TOTAL - SECONDS : 50))
      [[ -f $training/settings.json ]] || tail -n 3 "$logs/grow.log"
      run piece $left "$python" benchmarks/piece.py train "$training" --device $device --out "$out" \
        --seconds "$([[ $dry ]] && echo 0 || echo $((left - 40)))" ;;
  esac
done

echo "=== after $SECONDS s"
printf '%s\n' "${report[@]}"
echo "written:"
find "$out" -maxdepth 1 -type f -newer "$logs/begin" ! -name '.*' | sort | sed 's/^/  /'
exit $failed
