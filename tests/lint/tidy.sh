#!/usr/bin/env bash
# Runs clang-tidy, with the rules of .clang-tidy, over the repository's files in a compile database.
set -euo pipefail

usage() {
  cat <<'EOF'
Usage: tests/lint/tidy.sh [BUILD_DIR [PATH_REGEX]]

BUILD_DIR is a built `clang` preset (default build/clang); PATH_REGEX picks files by
their path from the repository root. PA_JOBS processes run at once (default: all cores).
EOF
}

case ${1:-} in
  -h | --help) usage && exit 0 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${1:-build/clang}
git ls-files '*.cc' | { grep -E "${2:-.}" || true; } |
  xargs --no-run-if-empty --max-procs="${PA_JOBS:-$(nproc)}" --max-args=1 clang-tidy -p "$build" --quiet
