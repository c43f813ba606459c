# setup.sh: sourced by demo.sh, test.sh, bench.sh and fuzz.sh. Installs what the build needs, if anything is missing.

# need <what for> <package>...: remembers the packages that are not installed.
missing=()
reasons=()
need() {
    local why=$1 package
    shift
    for package in "$@"; do
        if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed'; then
            missing+=("$package")
            reasons+=("$package ($why)")
        fi
    done
}

# as_root <command>...: runs it with the rights that packages need.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "Neither root nor sudo: do this yourself, then run this again: $*" >&2
        return 1
    fi
}

# install_missing: says what is missing and why, then installs it with the package manager.
install_missing() {
    [ ${#missing[@]} -eq 0 ] && return 0
    echo "Missing packages, to be installed with apt-get:"
    printf '  %s\n' "${reasons[@]}"
    # a server that does not answer is given up, not waited for
    local quick=(-o Acquire::http::Timeout=5 -o Acquire::https::Timeout=5 -o Acquire::Retries=0)
    as_root apt-get "${quick[@]}" update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get "${quick[@]}" install -y -qq \
            --no-install-recommends "${missing[@]}" >/dev/null || return
    missing=()
    reasons=()
}

# need_tool <command> <what for> <package>: needs the package only if the command is not there.
need_tool() {
    command -v "$1" >/dev/null || need "$2" "$3"
}

# moeq_setup build|tests: everything to build, or besides everything to test.
moeq_setup() {
    if ! command -v apt-get >/dev/null; then
        echo "No apt-get here: expecting a C compiler, CMake, Ninja, pkg-config, zlib, cJSON," \
             "PCRE2, utf8proc, nettle, and for the tests Check and Python. CMake will say what is missing." >&2
        return 0
    fi
    need_tool cc "C compiler" gcc
    need "C library headers" libc6-dev
    need_tool cmake "build" cmake
    need_tool ninja "build" ninja-build
    need_tool pkg-config "finds libraries" pkg-config
    need "CRC-32 and compressed side files" zlib1g-dev
    need "JSON" libcjson-dev
    need "split patterns of tokenizers" libpcre2-dev
    need "Unicode normalization" libutf8proc-dev
    need "SHA-256" nettle-dev
    if [ "$1" = tests ]; then
        need "unit tests" check
        need_tool python3 "independent oracles in the tests" python3
        python3 -c 'import venv, ensurepip' 2>/dev/null ||
            need "independent oracles in the tests" python3-venv
        need_tool mpicc "moeq-mpi in the tests" libopenmpi-dev
    fi
    install_missing
}

# moeq_configure <folder> <cmake option>...
moeq_configure() {
    local folder=$1
    shift
    mkdir -p "$folder"
    cmake -S . -B "$folder" -G Ninja "$@" >"$folder/configure.log" 2>&1 ||
        { cat "$folder/configure.log" >&2; return 1; }
}

# moeq_build <folder> <cmake option>...: configures and builds.
moeq_build() {
    moeq_configure "$@" && cmake --build "$1" --parallel
}
