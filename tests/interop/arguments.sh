# arguments.sh: sourced by the scripts here that take paths, behind their cd to the source tree; `caller` is where they were
# called.

# A path of the command line, seen from here.
here() {
    case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s\n' "$caller/$1" ;;
    esac
}

# The comment that a script begins with.
usage() {
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
}

# The program of --moeq; one that is built where none is given.
need_moeq() {
    if [ -z "$moeq" ]; then
        moeq_setup build
        moeq_build build -DMOEQ_TESTS=ON | tail -n 1
        moeq=build/moeq
    fi
}
