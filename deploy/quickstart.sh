#!/usr/bin/env bash
# From a fresh clone to a picture: builds, starts a cluster of two workers here, draws digits, stops it.
set -euo pipefail

usage() {
  cat <<'EOF'
Usage: deploy/quickstart.sh [--out DIR]

Installs what is missing (packages by apt-get, LibTorch into the cache directory),
builds the programs into build/release, starts a coordinator and two CPU workers on
this machine, and has them draw 21 handwritten digits with the demo model.

  --out DIR  where samples.png, result.safetensors, logs and the cluster's state go;
             default ./quickstart-out
  --help     this text

The cluster is stopped at the end, also after an error. PA_JOBS compilers run at once
(default: all cores). Brings its own LibTorch unless LIBTORCH names one.
EOF
}

fail() {
  echo "quickstart: $*" >&2
  exit 1
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=quickstart-out
while (($#)); do
  case $1 in
    --out) out=${2:?--out needs a directory} && shift ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
readonly root bin=$root/build/release/bin state=$out/state

# quietly WHAT COMMAND...: runs it, its output in a log that is shown only if it fails.
quietly() {
  local what=$1 log=$out/build.log
  shift
  echo "$what ..."
  "$@" > "$log" 2>&1 || { tail -n 50 "$log" >&2 && fail "$what: failed; all of its output is in $log"; }
}

"$root/deploy/install_deps.sh" || fail "packages are missing"
[[ -n ${LIBTORCH:-} ]] || "$root/deploy/fetch_libtorch.sh" || fail "LibTorch is missing"

cd "$root"
quietly "Configuring" cmake --preset release -D PA_BUILD_TESTS=OFF
quietly "Building" cmake --build --preset release --parallel "${PA_JOBS:-$(nproc)}"

# `pa up` runs in the foreground and stops the processes it started when it is told to.
cluster=
stop_cluster() {
  [[ -n $cluster ]] || return 0
  kill -TERM "$cluster" 2> /dev/null || true
  wait "$cluster" || true
  cluster=
}
trap stop_cluster EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "Starting a cluster of two workers ..."
"$bin/pa" up --workers 2 --models "$root/config/models" --state "$state" > "$out/cluster.log" 2>&1 &
cluster=$!
if ! timeout 180 "$bin/pa" status --state "$state" --wait > "$out/status.txt" 2>&1; then
  tail -n 20 "$out/cluster.log" "$out/status.txt" >&2
  fail "the cluster did not become ready; its log is $out/cluster.log"
fi

"$bin/pa" sample --state "$state" --model digits --labels 0-9 --count 21 --steps 20 --seed 1 \
  --png "$out/samples.png" --out "$out/result.safetensors" > "$out/sample.txt" ||
  fail "sampling failed; the cluster's log is $out/cluster.log"

stop_cluster
echo "The picture is $out/samples.png, the latents are $out/result.safetensors"
cat "$out/sample.txt"
