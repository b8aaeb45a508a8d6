#!/bin/sh
# Compiles the steering program: build.sh [OUTPUT], default the committed steer.bpf.o.
# Needs clang 14 and the packages libbpf-dev and linux-libc-dev. Other compilers make other
# instructions, so commit what clang 14 makes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
output=${1:-$here/steer.bpf.o}
cd "$here"
exec "${CLANG:-clang-14}" -target bpf -O2 -g -Wall -Werror \
	-fdebug-compilation-dir=. \
	-I"/usr/include/$(uname -m)-linux-gnu" \
	-c src/steer.bpf.c -o "$output"
