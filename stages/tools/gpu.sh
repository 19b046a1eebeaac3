#!/bin/sh
# Use a GPU for a few minutes: tests on the GPU, trainings until the time is up, results as small files.
#
#   sh stages/tools/gpu.sh OUT MINUTES JOBS [FINGERPRINTS]
#
# OUT           folder for the results: tests.xml, log.txt, throughput.md, and tar files of at most 16 MiB
# MINUTES       for the trainings; images, tests and packing come on top
# JOBS          trainings that share the GPU
# FINGERPRINTS  file from `python -m stages.tools.carry list` on the machine that collects the trainings
#
# Run it again to resume trainings that were stopped. README.md in this folder has the steps before and after.
set -eu
out=$1 minutes=$2 jobs=$3 expected=${4:-} tests=scratch/gpu-tests.xml
mkdir -p "$out"

python -m stages.check
python -m stages.prepare
if [ -n "$expected" ] && ! python -m stages.tools.carry list | diff "$expected" -; then
  echo "gpu.sh: images, settings or code differ from those of $expected; nothing was trained" >&2
  exit 2
fi

# Once on each machine. A failed test is reported, and the trainings go on: their time is short.
[ -f "$tests" ] || timeout 170 python -m pytest tests/training/test_cuda.py -p no:cacheprovider --junitxml "$tests" ||
  echo "gpu.sh: tests failed or took too long; see tests.xml" >&2
cp "$tests" "$out/tests.xml" || true

python -m stages.tools.budget --minutes "$minutes" --jobs "$jobs" 2>&1 | tee "$out/log.txt"
python -m stages.tools.throughput | tee "$out/throughput.md"
python -m stages.tools.carry pack "$out" --size 16
