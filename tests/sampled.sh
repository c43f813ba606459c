# sampled.sh: sourced by shell tests, after `moeq` is set.

# sanitized: the program was built with AddressSanitizer.
sanitized() {
    case "$(nm -D "$moeq" 2> /dev/null)" in *__asan_*) return 0 ;; esac
    return 1
}

# sampled: a sample of the cases will do, as mq_test_sampled() of test_support.h says.
sampled() {
    [ -z "${MOEQ_TEST_ALL:-}" ] && sanitized
}
