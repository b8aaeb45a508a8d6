# Sourced by lab.sh and test.sh: what a fresh Debian 12 needs before adit can be built and run.
# shellcheck shell=bash

# What the build and the lab need: a C compiler for one crate's assembly, and the programs that the lab drives.
LAB_PACKAGES=(gcc libc6-dev make perl iproute2 ethtool iputils-ping iperf3 busybox-static dnsmasq-base)

# What the tests need on top: captures, peers that nobody here wrote, and the compiler of the XDP program.
TEST_PACKAGES=(tcpdump tshark clang llvm libbpf-dev linux-libc-dev qemu-system-x86 dash cpio kmod
    strongswan-swanctl strongswan-charon libcharon-extra-plugins libstrongswan-standard-plugins
    libstrongswan-extra-plugins freeradius openssl python3-venv)

# ethtool and others live where an ordinary user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin

say() {
    printf '== %s\n' "$*" >&2
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 2
}

# install_packages NAME...: installs those that are missing, and starts no daemon while doing so.
install_packages() {
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "not root, and these packages are missing: ${missing[*]}"
    say "installing ${missing[*]}"
    (
        export DEBIAN_FRONTEND=noninteractive
        if [ ! -e /usr/sbin/policy-rc.d ]; then
            trap 'rm -f /usr/sbin/policy-rc.d' EXIT
            trap 'exit 130' INT TERM HUP
            printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
            chmod 755 /usr/sbin/policy-rc.d
        fi
        apt() {
            apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" >&2
        }
        # The lists may be missing or old: fetched only when the install fails without.
        apt install --no-install-recommends "${missing[@]}" ||
            { apt update && apt install --no-install-recommends "${missing[@]}"; }
    ) || die "apt-get could not install ${missing[*]}"
}

# install_rust: the version that rust-toolchain.toml pins, through rustup where there is none.
install_rust() {
    local pinned
    pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    # In front: Debian's own cargo is too old and knows nothing of rust-toolchain.toml.
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    has_rust() {
        [[ $(rustc --version 2>/dev/null) == "rustc $pinned "* ]] && cargo --version >/dev/null 2>&1
    }
    if has_rust; then
        return
    fi
    if ! command -v rustup >/dev/null; then
        install_packages ca-certificates curl
        say "installing rustup"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -y --quiet --no-modify-path --profile minimal --default-toolchain none >&2 ||
            die "rustup could not be installed; see https://rustup.rs"
    fi
    say "installing the Rust version of rust-toolchain.toml"
    rustup toolchain install >&2 || true
    has_rust || die "Rust $pinned is not to be had; see https://rustup.rs"
}
