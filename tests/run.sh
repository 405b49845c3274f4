#!/usr/bin/env bash
# Installs what is needed, builds, tests, and ends with one line: `N passed, N failed[, N skipped]`.
set -euo pipefail

usage() {
  cat <<'EOF'
Usage: tests/run.sh [--full | --long] [--preset PRESET] [-k REGEX] [--no-install]

Builds a preset and runs its tests: unit, contract, sim, process, e2e and lint. The
last line counts individual test cases; the exit code is 0 if none failed.

  --full           200 seeds in simulations of faults; real processes under real faults
                   (tests/chaos); the asan and tsan builds of unit, contract and sim tests;
                   a Clang build, and clang-tidy
  --long           builds, then simulates faults from seeds 1 to 100,000, going on where it was
                   stopped before (tests/sim/long.py); days
  --preset PRESET  what to build, as in CMakePresets.json; default release
  -k REGEX         only CTest entries whose name matches
  --no-install     take packages and LibTorch as they are
  --help           this text

Environment: PA_JOBS, how many compilers and tests run at once (default: all cores);
PA_SIM_SEEDS=A..B, the seeds that every simulation of faults runs.
EOF
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
full='' long='' preset=release filter=. install=1
while (($#)); do
  case $1 in
    --full) full=1 ;;
    --long) long=1 ;;
    --preset) preset=${2:?--preset needs a name} && shift ;;
    -k) filter=${2:?-k needs a regular expression} && shift ;;
    --no-install) install= ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done
jobs=${PA_JOBS:-$(nproc)}

builds=()
failed=()

# stage NAME COMMAND...: runs it; its output is shown only if it fails, which is noted and not fatal.
stage() {
  local name=$1 log
  shift
  log=$(mktemp)
  echo "== $name"
  if "$@" > "$log" 2>&1; then
    rm "$log"
  else
    tail -n 200 "$log"
    rm "$log"
    failed+=("$name")
    return 1
  fi
}

# The Python that has NumPy, as in tests/CMakeLists.txt.
test_python() {
  python3 -c 'import numpy' 2> /dev/null && echo python3 || echo /usr/bin/python3
}

# build_and_test PRESET CTEST_ARGUMENTS...
build_and_test() {
  local preset=$1
  shift
  stage "$preset: configure" cmake --preset "$preset" || return 0
  stage "$preset: build" cmake --build --preset "$preset" --parallel "$jobs" || return 0
  echo "== $preset: test"
  rm -rf "build/$preset/test-results"
  mkdir -p "build/$preset/test-results"
  # Its exit code is not needed: the results are counted from what it writes.
  ctest --preset "$preset" --parallel "$jobs" --tests-regex "$filter" \
    --output-junit test-results/ctest.xml "$@" || true
  builds+=("build/$preset")
}

if [[ -n $install ]]; then
  deploy/install_deps.sh --dev || failed+=("install packages")
  [[ -n ${LIBTORCH:-} ]] || deploy/fetch_libtorch.sh || failed+=("fetch LibTorch")
fi

if [[ -n $long ]]; then
  ((${#failed[@]} == 0)) && cmake --preset release && cmake --build --preset release --parallel "$jobs"
  exec python3 -B tests/sim/long.py --jobs "$jobs"
fi

if ((${#failed[@]} == 0)); then
  if [[ -n $full ]]; then
    PA_FULL_SIZE=1 PA_SIM_SEEDS=${PA_SIM_SEEDS:-1..200} build_and_test "$preset"
    stage "chaos" env PA_BIN_DIR="$PWD/build/$preset/bin" "$(test_python)" -B tests/chaos/chaos.py --requests 300 || true
    for sanitized in asan tsan; do
      build_and_test "$sanitized" --label-regex '^(unit|contract|sim)$'
    done
    stage "clang: configure" cmake --preset clang &&
      stage "clang: build" cmake --build --preset clang --parallel "$jobs" &&
      stage "clang-tidy" tests/lint/tidy.sh build/clang || true
  else
    build_and_test "$preset"
  fi
fi

python3 -B tests/summary.py "${builds[@]}" "${failed[@]/#/--failed=}"
