#!/usr/bin/env bash
# Brings LibTorch: the pinned PyTorch wheel, checked by hash and unpacked without its Python part.
set -euo pipefail

usage() {
  cat <<'EOF'
Usage: deploy/fetch_libtorch.sh [--cuda] [--dir DIR] [--wheels DIR]

Brings the LibTorch that CMake looks for. Says nothing if it is there already.

  --cuda        also what a CUDA worker needs at run time (cuBLAS, cuDNN, NCCL, ...)
  --dir DIR     where to put it; default
                ${XDG_CACHE_HOME:-~/.cache}/parallelanything/libtorch-2.15.0
  --wheels DIR  take the wheels from DIR, as `pip download` left them there, and
                use no network (or PA_WHEELS=DIR in the environment)
  --help        this text

Download: 0.55 GB (with --cuda 2.7 GB); disk: 0.6 GB (with --cuda 3.8 GB), and while
it unpacks the download on top. x86-64 Linux only; elsewhere bring a
LibTorch of your own and configure with -DLIBTORCH=DIR.
EOF
}

fail() {
  echo "fetch_libtorch: $*" >&2
  exit 1
}

readonly version=2.15.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
target=${XDG_CACHE_HOME:-$HOME/.cache}/parallelanything/libtorch-$version
wheels=${PA_WHEELS:-}
variant=cpu
while (($#)); do
  case $1 in
    --cuda) variant=cuda ;;
    --dir) target=${2:?--dir needs a directory} && shift ;;
    --wheels) wheels=${2:?--wheels needs a directory} && shift ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done

requirements=("$here/libtorch.requirements.txt")
[[ $variant == cpu ]] || requirements+=("$here/libtorch-cuda.requirements.txt")

# The stamp is what was asked for: a directory made from other pins is replaced.
wanted() { cat "${requirements[@]}"; }
if cmp --silent "$target/requirements.txt" <(wanted) ||
  cmp --silent "$target/requirements.txt" <(cat "$here"/libtorch{,-cuda}.requirements.txt); then
  exit 0
fi

[[ ! -e $target || -f $target/requirements.txt ]] ||
  fail "$target exists and is no LibTorch of this script; remove it or pass --dir"
[[ $(uname -sm) == "Linux x86_64" ]] ||
  fail "there is no pinned wheel for $(uname -sm); unpack a LibTorch yourself and configure with -DLIBTORCH=DIR"
command -v python3 > /dev/null || fail "python3 is missing; run deploy/install_deps.sh"
python3 -m pip --version > /dev/null 2>&1 || fail "python3 has no pip; run deploy/install_deps.sh"

mkdir -p "$(dirname "$target")"
staging=$(mktemp -d "$target.XXXXXX")
trap 'rm -rf "$staging"' EXIT

# The libraries do not depend on the Python at hand, so one wheel, hence one hash, serves all.
arguments=(--no-deps --require-hashes --only-binary=:all: --implementation cp --python-version 3.11
  --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64
  --platform manylinux_2_24_x86_64 --platform manylinux_2_18_x86_64 --platform manylinux_2_17_x86_64
  --platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --platform manylinux1_x86_64)
for file in "${requirements[@]}"; do
  arguments+=(--requirement "$file")
done
if [[ -n $wheels ]]; then
  echo "Taking LibTorch $version ($variant) from the wheels in $wheels"
  arguments+=(--no-index --find-links "$wheels")
else
  size=0.55
  [[ $variant == cpu ]] || size=2.7
  echo "Downloading LibTorch $version ($variant): $size GB"
fi
python3 -m pip --disable-pip-version-check download --quiet --no-cache-dir \
  --dest "$staging/wheels" "${arguments[@]}" || fail "the wheels could not be had; see above"

echo "Unpacking into $target"
python3 - "$staging" "$variant" <<'EOF'
"""Unpacks the parts of the wheels that a C++ program uses."""
import pathlib, re, sys, zipfile

staging, variant = pathlib.Path(sys.argv[1]), sys.argv[2]
wanted = re.compile(r"(torch/(lib|include|share)/|nvidia/[^/]+/lib/.*\.so|[^/]+\.dist-info/(.*/)?(LICENSE|METADATA|NOTICE))")
python_only = re.compile(r"torch/lib/libtorch_python\.so")
gpu_only = re.compile(r"torch/lib/lib(torch_cuda|torch_nvshmem|caffe2_nvrtc)")
for wheel in sorted((staging / "wheels").glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if wanted.match(name) and not python_only.match(name) and not (variant == "cpu" and gpu_only.match(name)):
                archive.extract(name, staging)
    wheel.unlink()
EOF
rmdir "$staging/wheels"
wanted > "$staging/requirements.txt"
chmod 755 "$staging"

# Renaming is what makes it appear whole or not at all.
if [[ -e $target ]]; then
  mv "$target" "$staging.old"
fi
mv --no-target-directory "$staging" "$target"
rm -rf "$staging.old"
echo "LibTorch $version is in $target ($(du -sh "$target" | cut -f1))"
