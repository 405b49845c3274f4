#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that building and running need.
set -euo pipefail

usage() {
  cat <<'EOF'
Usage: deploy/install_deps.sh [--dev] [--dry-run]

Installs, with apt-get, what building and running ParallelAnything needs and this
machine lacks. Uses sudo unless it runs as root. Says what it installs; silent if
nothing is missing. LibTorch is not among it: deploy/fetch_libtorch.sh brings that.

  --dev      also what tests, benchmarks and linters need
  --dry-run  only say what is missing; exit code 1 if something is
  --help     this text
EOF
}

fail() {
  echo "install_deps: $*" >&2
  exit 1
}

# A name, or alternatives in order of preference, as releases name things differently.
packages=(
  ca-certificates ccache cmake g++ git "mold|lld" ninja-build python3 python3-pip
  cppzmq-dev libcivetweb-dev libcli11-dev libfmt-dev "libmsgpack-cxx-dev|libmsgpack-dev" libpng-dev
  libsodium-dev libspdlog-dev libsqlite3-dev libxxhash-dev libyaml-cpp-dev libzmq3-dev
  nlohmann-json3-dev prometheus-cpp-dev
)
dev_packages=(
  clang clang-format clang-tidy libbenchmark-dev libgmock-dev libgtest-dev python3-jsonschema
  python3-numpy python3-pytest
)

dry_run=
while (($#)); do
  case $1 in
    --dev) packages+=("${dev_packages[@]}") ;;
    --dry-run) dry_run=1 ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done

command -v dpkg-query > /dev/null ||
  fail "this is no Debian or Ubuntu; install the equivalents of: ${packages[*]}"

installed() { [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2> /dev/null) == installed ]]; }

missing=()
for alternatives in "${packages[@]}"; do
  found=
  for package in ${alternatives//|/ }; do
    if installed "$package"; then
      found=1
    fi
  done
  [[ -n $found ]] || missing+=("$alternatives")
done

((${#missing[@]})) || exit 0
if [[ -n $dry_run ]]; then
  echo "Missing: ${missing[*]}"
  exit 1
fi

as_root=()
if [[ $(id -u) != 0 ]]; then
  command -v sudo > /dev/null || fail "run as root, or install yourself: ${missing[*]}"
  as_root=(sudo)
fi

# DEBIAN_FRONTEND is passed through env because sudo drops the environment.
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --assume-yes "$@"; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { "$@" > "$log" 2>&1 || { cat "$log" >&2 && return 1; }; }

quietly apt update || fail "apt-get update failed; see above"
chosen=()
for alternatives in "${missing[@]}"; do
  for package in ${alternatives//|/ }; do
    if apt-cache show "$package" > /dev/null 2>&1; then
      chosen+=("$package")
      continue 2
    fi
  done
  fail "this release has no package ${alternatives//|/ or }"
done
echo "Installing packages: ${chosen[*]}"
quietly apt install --no-install-recommends "${chosen[@]}" || fail "apt-get install failed; see above"
