#!/usr/bin/env bash
# Installs what it needs, builds adit and runs every test; --long adds what takes too long for every run.
# The last line counts: N passed, N failed, N skipped. Exit status 0 only if nothing failed.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")"
. scripts/prepare.sh

for option in "$@"; do
    case $option in
        --long) export ADIT_LONG=1 ;;
        *) die "unknown option $option; there is only --long" ;;
    esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ADIT_SKIP_LOG=$work/skipped
: >"$ADIT_SKIP_LOG"
passed=0 failed=0

# count WHAT LOG: adds up one column of the harness's result lines, "test result: ok. 3 passed; 0 failed; 1 ignored; …".
count() {
    awk -v what="$1" '/^test result: / { for (i = 2; i <= NF; i++) if ($i == what ";") sum += $(i - 1) } END { print sum + 0 }' "$2"
}

# step NAME COMMAND...: runs one step and counts its tests. A step that fails without a failed test (a build error, a crash, a finding of
# clippy) counts as one failure.
step() {
    local name=$1 log=$work/log failures status
    shift
    say "$name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    failures=$(count failed "$log")
    if [ "$status" != 0 ]; then
        [ "$failures" != 0 ] || failures=1
        printf 'FAILED: %s (exit status %s)\n' "$name" "$status"
    fi
    passed=$((passed + $(count passed "$log")))
    failed=$((failed + failures))
}

# Tests that hang are ended as by Ctrl-C, so that their labs are taken down.
limited() {
    timeout --signal=INT --kill-after=60 "$@"
}

install_packages "${LAB_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
install_rust

step "formatting" cargo fmt --all --check
step "build of the commands" cargo build --locked --workspace --bins
step "tests without privileges" cargo test --locked --workspace --no-fail-fast
# One profile for everything, which halves the building; and in this one every overflow and debug assertion is checked.
export ADIT_BIN_DIR=$PWD/target/debug
for suite in lab interop; do
    if [ -d "tests/$suite" ]; then
        step "build of the $suite tests" cargo test --locked --test "$suite" --no-run
        step "$suite tests" limited "${ADIT_LONG:+3}600" cargo test --locked --test "$suite" -- --test-threads=1
    fi
done
if [ -n "${ADIT_LONG:-}" ]; then
    step "model check of the shared-memory slot" env RUSTFLAGS="--cfg loom" cargo test --locked --release -p adit-abi --lib --target-dir target/loom slots
fi
step "clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
# Targets that a plain `cargo test` leaves out count for no target there, either.
step "clippy of the privileged tests" cargo clippy --locked --test lab --test interop -- -D warnings
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

# The harness counts a skipped test as passed; the log has a line for each. What it calls ignored are parts that tests play in processes of
# their own: they run there, and count for nothing.
without_run=$(wc -l <"$ADIT_SKIP_LOG")
if [ "$without_run" != 0 ]; then
    say "skipped"
    cat "$ADIT_SKIP_LOG"
fi
printf '%d passed, %d failed, %d skipped\n' $((passed - without_run)) "$failed" "$without_run"
[ "$failed" = 0 ]
