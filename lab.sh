#!/usr/bin/env bash
# Installs what it needs, builds adit and shows a tunnel at work between two gateways in network namespaces.
# Every option goes to `adit lab tunnel`: see ./lab.sh --help.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
. scripts/prepare.sh

[ "$(id -u)" = 0 ] || die "the lab makes network namespaces: run it as root"
install_packages "${LAB_PACKAGES[@]}"
install_rust
say "building"
cargo build --release --locked --workspace --bins
exec target/release/adit lab tunnel "$@"
