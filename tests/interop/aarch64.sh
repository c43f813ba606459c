#!/usr/bin/env bash
# aarch64.sh: are files and logits the same bits on an ARM processor?
#
# usage: tests/interop/aarch64.sh [FOLDER]      FOLDER: of the builds (default build/aarch64)
#
# Cross-builds moeq for arm64, runs the tests of codecs and evaluator under qemu-user (they compare NEON
# with plain C), and compares both with the native build: demo/model at each level, and the logits of a
# few tokens. Prints the hashes; exit code 1 where a test fails or a hash differs, 77 where this cannot be
# tried. Takes minutes, most of them qemu's arithmetic, so it is not among the tests of CTest.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/setup.sh
folder=${1:-build/aarch64}
levels=(q8_0 q4_k q3_k)
ids=tests/fixtures/oracles/mixtral/golden.safetensors # their vocabulary is a part of the demo's

# ---- what it needs ----

setup() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        echo "No apt-get here: this takes the arm64 compiler and libraries from Debian's or Ubuntu's" \
             "packages, and did nothing." >&2
        exit 77
    fi
    if [ "$(dpkg --print-architecture)" != amd64 ]; then
        echo "This compares with a native x86-64 build; here it is $(dpkg --print-architecture)." >&2
        exit 77
    fi
    moeq_setup tests
    need "C compiler for arm64" gcc-aarch64-linux-gnu
    need "runs arm64 programs" qemu-user
    local package
    for package in libgomp1 zlib1g-dev libcjson-dev libpcre2-dev libutf8proc-dev nettle-dev check; do
        need "for arm64" "$package:arm64"
    done
    if [ ${#missing[@]} -gt 0 ] && ! dpkg --print-foreign-architectures | grep -qx arm64; then
        echo "Packages of another architecture are needed: dpkg --add-architecture arm64"
        as_root dpkg --add-architecture arm64
    fi
    install_missing
}

build() {
    echo "== Native build"
    moeq_build "$folder/native" -DMOEQ_TESTS=OFF -DMOEQ_BENCH=OFF | tail -n 1
    echo "== arm64 build"
    PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig \
        moeq_build "$folder/arm64" -DMOEQ_TESTS=ON -DMOEQ_BENCH=OFF \
        -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
        -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc -DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64 | tail -n 1
}

# ---- the comparison ----

sides=(native neon generic)

# moeq_on native|neon|generic ARGUMENTS...: natively, or on arm64 with that instruction set.
moeq_on() {
    local where=$1
    shift
    if [ "$where" = native ]; then
        "$folder/native/moeq" "$@" -q --no-progress
    else
        MOEQ_ISA=$where qemu-aarch64 "$folder/arm64/moeq" "$@" -q --no-progress
    fi
}

hash() {
    sha256sum "$1" | cut -c 1-32
}

row() {
    printf '%-22s %-32s %-32s %-32s %s\n' "$@"
}

# compare WHAT FILE: a line of the table, of what all made as FILE.native and so on.
compare() {
    local native neon generic same=yes
    native=$(hash "$folder/$2.native")
    neon=$(hash "$folder/$2.neon")
    generic=$(hash "$folder/$2.generic")
    if [ "$native" != "$neon" ] || [ "$native" != "$generic" ]; then
        same=NO
        status=1
    fi
    row "$1" "$native" "$neon" "$generic" "$same"
}

# logits WHAT MODEL COMPUTE: MODEL may contain WHERE, which stands for the side.
logits() {
    local where
    for where in "${sides[@]}"; do
        moeq_on "$where" eval "${2//WHERE/$where}" --ids "$ids" --compute "$3" \
            --dump "$folder/logits.$where" >/dev/null
    done
    compare "logits, $1, $3" logits
}

# Bytes of files and logits: SHA-256, the first 32 digits of each.
hashes() {
    local level where
    row "" x86-64 "arm64, NEON" "arm64, plain C" same
    for level in "${levels[@]}"; do
        for where in "${sides[@]}"; do
            moeq_on "$where" convert demo/model -o "$folder/$level.$where" --level "$level" --force >/dev/null
        done
        compare "file, $level" "$level"
    done
    for compute in f32 int8; do
        logits original demo/model $compute
        for level in "${levels[@]}"; do
            logits "$level" "$folder/$level.WHERE" $compute
        done
    done
}

status=0
setup
build
echo "== Tests under qemu"
ctest --test-dir "$folder/arm64" --output-on-failure --parallel 2 --timeout 3000 --no-tests=error \
    -R '^test_(f16|portable_math|lanes|codecs|codec_quality|levels|gemm|int8|attention|evaluator|oracles|kld)$' || status=1
echo "== Files and logits of demo/model"
hashes
exit $status
