# sampled.sh: sourced by shell tests, after `moeq` is set.

# sanitized: the program was built with AddressSanitizer.
sanitized() {
    case "$(nm -D "$moeq" 2> /dev/null)" in *__asan_*) return 0 ;; esac
    return 1
}

# may_preload: AddressSanitizer wants to be the first library, and can do without.
may_preload() {
    export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1}:verify_asan_link_order=0"
}

# sampled: a sample of the cases will do, as mq_test_sampled() of test_support.h says.
sampled() {
    [ -z "${MOEQ_TEST_ALL:-}" ] && sanitized
}

# optimized_judges WHAT: ends a test of figures, words or pages whose code other tests run under the sanitizers too.
optimized_judges() {
    sampled || return 0
    echo "skipped: $1 of the optimized build are judged (MOEQ_TEST_ALL=1: of this one too)"
    exit 77
}
