#!/bin/sh
# Builds the Linux guest of the interoperability tests: Debian's cloud kernel, whose XFRM speaks
# ESP, and an initramfs that runs one command at a time for the tests. Needs no root.
#
# Usage: build.sh DIRECTORY    leaves DIRECTORY/vmlinuz and DIRECTORY/base.cpio
set -eu

here=$(dirname "$(readlink -f "$0")")
mkdir -p "$1"
out=$(readlink -f "$1")
PATH=$PATH:/usr/sbin:/sbin

for tool in apt-get apt-cache dpkg-deb busybox dash ip tc cpio depmod modprobe ldd; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed" >&2; exit 2; }
done
[ "$(dpkg --print-architecture)" = amd64 ] || { echo "the guest is built on amd64 only" >&2; exit 2; }

stamp=$(cat "$here/build.sh" "$here/init" "$here/modules" | sha256sum)
if [ -e "$out/vmlinuz" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi

work=$(mktemp -d "$out/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[ -n "$kernel" ] || { echo "apt knows no linux-image-cloud-amd64 (run apt-get update)" >&2; exit 2; }
(cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$kernel" >download.log 2>&1) || {
    cat "$work/download.log" >&2
    exit 2
}
dpkg-deb -x "$work"/linux-image-*.deb "$work/kernel"
vmlinuz=$(echo "$work"/kernel/boot/vmlinuz-*)
version=${vmlinuz##*/vmlinuz-}

root=$work/root
mkdir -p "$root/bin" "$root/usr/bin" "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/etc" "$root/tmp"

# busybox's sh would run its own `ip`; dash runs the one on PATH.
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in $(busybox --list); do
    case $applet in
        busybox | ip | tc | sh) ;;
        *) ln -sf busybox "$root/bin/$applet" ;;
    esac
done
for tool in dash ip tc modprobe; do
    binary=$(readlink -f "$(command -v "$tool")")
    rm -f "$root/bin/$tool"
    cp "$binary" "$root/usr/bin/$tool"
    ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
done
ln -s ../usr/bin/dash "$root/bin/sh"
# The kernel's crypto API calls modprobe by this path.
mkdir "$root/sbin"
ln -s ../usr/bin/modprobe "$root/sbin/modprobe"

# Each listed module with all it depends on; the crypto API loads by alias, hence depmod.
depmod -b "$work/kernel" "$version"
grep -v '^#' "$here/modules" | while read -r module; do
    modprobe -d "$work/kernel" -S "$version" --show-depends "$module" || {
        echo "the kernel package has no module $module" >&2
        exit 1
    }
done >"$work/needed"
sed -n 's/^insmod \([^ ]*\).*/\1/p' "$work/needed" | sort -u | while read -r file; do
    target=$root${file#"$work/kernel"}
    mkdir -p "$(dirname "$target")"
    cp "$file" "$target"
done
cp "$work/kernel/lib/modules/$version"/modules.builtin* "$work/kernel/lib/modules/$version/modules.order" \
    "$root/lib/modules/$version/"
depmod -b "$root" "$version"

cp "$here/init" "$root/init"
chmod 755 "$root/init"
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet --owner=0:0 -H newc -o) >"$work/base.cpio"

rm -f "$out/stamp"
mv "$work/base.cpio" "$out/base.cpio"
cp "$vmlinuz" "$out/vmlinuz"
echo "$stamp" >"$out/stamp"
