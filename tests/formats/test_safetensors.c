/* test_safetensors.c: every rule of the safetensors format, each broken by a file of its own. */
#include "buffer.h"
#include "safetensors.h"
#include "test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Writes length prefix, header and data_bytes zeros. */
static const char *write_file(uint64_t length, const char *header, size_t n, size_t data_bytes)
{
    const char *path = mq_test_temporary("t.safetensors");
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    for (int i = 0; i < 8; i++)
        putc((int)(length >> (8 * i) & 255), f);
    ck_assert_uint_eq(fwrite(header, 1, n, f), n);
    for (size_t i = 0; i < data_bytes; i++)
        putc(0, f);
    ck_assert_int_eq(fclose(f), 0);
    return path;
}

/* Opens the file; on success leaves the view in *st, whose names live in *arena. */
static moeq_status open_file(const char *path, struct mq_arena **arena, struct mq_safetensors *st,
                             moeq_error *err)
{
    memset(err, 0, sizeof *err);
    *arena = mq_arena_create();
    ck_assert_ptr_nonnull(*arena);
    const moeq_status status = mq_safetensors_open(path, *arena, st, err);
    if (status != MOEQ_OK) {
        ck_assert_int_eq(err->status, status);
        ck_assert_str_eq(err->path, path);
        ck_assert_msg(!strchr(err->message, '\n'), "more than one line: %s", err->message);
        /* The file must have been closed and everything freed: the sanitizer watches that. */
        mq_arena_destroy(*arena);
        *arena = NULL;
    }
    return status;
}

/* The message behind "path: ". */
static const char *text_of(const moeq_error *err)
{
    const size_t n = strlen(err->path);
    ck_assert_int_eq(strncmp(err->message + n, ": ", 2), 0);
    return err->message + n + 2;
}

struct bad_header {
    const char *header;
    size_t data_bytes;
    moeq_status status;
    const char *message;
};

#define A4 "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"
#define ONE(body) "{\"a\":{" body "}}"

static const struct bad_header bad_headers[] = {
    {"", 0, MOEQ_MALFORMED,
     "begins with 8 zero bytes (of 8): room that was reserved and not filled, as by an interrupted "
     "download, or a damaged disk, no safetensors file: fetch it again (hf download OWNER/NAME "
     "FILE, which checks what came)"},
    {"[]", 0, MOEQ_MALFORMED, "header does not begin with '{': no safetensors file"},
    {" {}", 0, MOEQ_MALFORMED, "header does not begin with '{': no safetensors file"},
    {"{", 0, MOEQ_MALFORMED, "JSON at byte 9: found the end inside an array or object"},
    {"{}x", 0, MOEQ_MALFORMED, "JSON at byte 10: found text after the end"},
    {"{}{}", 0, MOEQ_MALFORMED, "JSON at byte 10: found text after the end"},
    {"{" A4 "," A4 "}", 4, MOEQ_MALFORMED, "JSON holds the key \"a\" twice"},
    {ONE("\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"), 4,
     MOEQ_MALFORMED, "JSON holds the key \"dtype\" twice"},
    {"{\"\xc3\x28\":1}", 0, MOEQ_MALFORMED, "JSON at byte 10: invalid UTF-8"},
    {"{\"a\nb\":1}", 0, MOEQ_MALFORMED,
     "JSON at byte 11: found a control character inside a string"},
    {"{\"a\":1}", 0, MOEQ_MALFORMED,
     "tensor 'a': expected \"dtype\", \"shape\" and \"data_offsets\""},
    {ONE("\"dtype\":\"F32\",\"shape\":[1]"), 4, MOEQ_MALFORMED,
     "tensor 'a': expected \"dtype\", \"shape\" and \"data_offsets\""},
    {ONE("\"dtype\":\"Q4\",\"shape\":[1],\"data_offsets\":[0,4]"), 4, MOEQ_UNSUPPORTED,
     "tensor 'a': unknown dtype \"Q4\""},
    {ONE("\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]"), 4, MOEQ_MALFORMED,
     "JSON at byte 37: found a number that is no plain non-negative integer"},
    {ONE("\"dtype\":\"F32\",\"shape\":[1e3],\"data_offsets\":[0,4000]"), 4, MOEQ_MALFORMED,
     "JSON at byte 37: found a number that is no plain non-negative integer"},
    {ONE("\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]"), 4, MOEQ_MALFORMED,
     "JSON at byte 37: found a number that is no plain non-negative integer"},
    {ONE("\"dtype\":\"F32\",\"shape\":[01],\"data_offsets\":[0,4]"), 4, MOEQ_MALFORMED,
     "JSON at byte 37: found a number with a leading zero"},
    {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9007199254740993]"), 4,
     MOEQ_MALFORMED, "JSON at byte 58: found an integer above 2^53"},
    {ONE("\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]"), 4, MOEQ_MALFORMED,
     "tensor 'a': a dimension is no non-negative integer"},
    /* 2^33 * 2^33 elements */
    {ONE("\"dtype\":\"U8\",\"shape\":[8589934592,8589934592],\"data_offsets\":[0,4]"), 4,
     MOEQ_MALFORMED, "tensor 'a': its shape's product overflows 64 bits"},
    {ONE("\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), 4,
     MOEQ_UNSUPPORTED, "tensor 'a': more than 8 dimensions"},
    {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]"), 4, MOEQ_MALFORMED,
     "tensor 'a': expected data_offsets [begin, end], begin <= end"},
    {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]"), 4, MOEQ_MALFORMED,
     "tensor 'a': expected data_offsets [begin, end], begin <= end"},
    {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]"), 4, MOEQ_MALFORMED,
     "tensor 'a': expected data_offsets [begin, end], begin <= end"},
    {ONE("\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,20]"), 20, MOEQ_MALFORMED,
     "tensor 'a' at byte 0: shape [2, 3] of F32 needs 24 bytes, header gives 20"},
    {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]"), 8, MOEQ_MALFORMED,
     "tensor 'a' at byte 66: leaves a hole: data begins at 4, the tensor before ends at 0"},
    {"{" A4 ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}", 6, MOEQ_MALFORMED,
     "tensor 'b' at byte 117: overlaps another tensor: data begins at 2, the tensor before ends at "
     "4"},
    {"{" A4 "}", 3, MOEQ_MALFORMED,
     "tensor 'a' at byte 62: needs 4 bytes, but the file ends 3 bytes into its data: 1 byte of the "
     "file is missing (truncated: fetch or copy it again)"},
    {"{" A4 "}", 5, MOEQ_MALFORMED, "header describes 4 bytes of data, the file holds 5"},
    {"{}", 1, MOEQ_MALFORMED, "header describes 0 bytes of data, the file holds 1"},
    {"{\"__metadata__\":[]}", 0, MOEQ_MALFORMED, "__metadata__ is no object"},
    {"{\"__metadata__\":{\"k\":1}}", 0, MOEQ_MALFORMED, "__metadata__: \"k\" is no string"},
};

START_TEST(refuses_bad_headers)
{
    for (size_t i = 0; i < sizeof bad_headers / sizeof *bad_headers; i++) {
        const struct bad_header *b = &bad_headers[i];
        const size_t n = strlen(b->header);
        struct mq_arena *arena;
        struct mq_safetensors st;
        moeq_error err;
        const moeq_status status =
            open_file(write_file(n, b->header, n, b->data_bytes), &arena, &st, &err);
        ck_assert_msg(status == b->status, "%s: status %d", b->header, status);
        ck_assert_str_eq(text_of(&err), b->message);
    }
}
END_TEST

START_TEST(refuses_bad_lengths)
{
    static const struct {
        uint64_t length;
        size_t header, data;
        const char *start;
    } cases[] = {
        {1ull << 63, 2, 0, "at byte 0: header length 9223372036854775808 does not fit: the file "},
        {UINT64_MAX, 2, 0, "at byte 0: header length 18446744073709551615 does not fit: the file "},
        {3, 2, 0, "at byte 0: header length 3 does not fit: the file has 10 bytes "},
        {100000001, 2, 0, "at byte 0: header length 100000001 does not fit: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_arena *arena;
        struct mq_safetensors st;
        moeq_error err;
        ck_assert_int_eq(
            open_file(write_file(cases[i].length, "{}", 2, cases[i].data), &arena, &st, &err),
            MOEQ_MALFORMED);
        ck_assert_msg(strncmp(text_of(&err), cases[i].start, strlen(cases[i].start)) == 0, "%s",
                      err.message);
    }
    for (int bytes = 1; bytes < 8; bytes++) {
        char expected[120];
        struct mq_arena *arena;
        struct mq_safetensors st;
        moeq_error err;
        const char *path = write_file(2, "{}", 2, 0);
        ck_assert_int_eq(truncate(path, bytes), 0);
        ck_assert_int_eq(open_file(path, &arena, &st, &err), MOEQ_MALFORMED);
        snprintf(expected, sizeof expected,
                 "file has %d bytes: too short for a safetensors file (truncated: fetch or copy it "
                 "again)",
                 bytes);
        ck_assert_str_eq(text_of(&err), expected);
    }
}
END_TEST

/* A file that ends anywhere before its last byte is refused, whichever byte that is. */
START_TEST(refuses_every_truncation)
{
    static const char header[] = "{" A4 ",\"b\":{\"dtype\":\"BF16\",\"shape\":[2,2],"
                                 "\"data_offsets\":[4,12]}}";
    const size_t n = sizeof header - 1;
    for (size_t size = 0; size < 8 + n + 12; size++) {
        struct mq_arena *arena;
        struct mq_safetensors st;
        moeq_error err;
        const char *path = write_file(n, header, n, 12);
        ck_assert_int_eq(truncate(path, (off_t)size), 0);
        ck_assert_int_eq(open_file(path, &arena, &st, &err), MOEQ_MALFORMED);
    }
}
END_TEST

START_TEST(refuses_deep_and_wide_json)
{
    struct mq_buffer b = {0};
    struct mq_arena *arena;
    struct mq_safetensors st;
    moeq_error err;
    mq_buffer_puts(&b, "{\"a\":");
    for (int i = 0; i < 100000; i++)
        mq_buffer_putc(&b, '[');
    for (int i = 0; i < 100000; i++)
        mq_buffer_putc(&b, ']');
    mq_buffer_putc(&b, '}');
    ck_assert_int_eq(open_file(write_file(b.size, b.data, b.size, 0), &arena, &st, &err),
                     MOEQ_MALFORMED);
    ck_assert_str_eq(text_of(&err),
                     "JSON at byte 20: found nesting deeper than any such file needs");
    mq_buffer_clear(&b);
    mq_buffer_puts(&b, "{\"a\":[0");
    for (int i = 0; i < 100000; i++)
        mq_buffer_puts(&b, ",0");
    mq_buffer_puts(&b, "]}");
    ck_assert_int_eq(open_file(write_file(b.size, b.data, b.size, 0), &arena, &st, &err),
                     MOEQ_MALFORMED);
    ck_assert_ptr_nonnull(strstr(err.message, "found more values than any such file needs"));
    mq_buffer_free(&b);
}
END_TEST

/* Names go to the terminal: control characters in a message would let a file write there. */
START_TEST(messages_are_printable)
{
    static const char header[] = "{\"\\u001b[2J\":{\"dtype\":\"\\u0007\",\"shape\":[],"
                                 "\"data_offsets\":[0,0]}}";
    struct mq_arena *arena;
    struct mq_safetensors st;
    moeq_error err;
    const size_t n = sizeof header - 1;
    ck_assert_int_eq(open_file(write_file(n, header, n, 0), &arena, &st, &err), MOEQ_UNSUPPORTED);
    ck_assert_str_eq(text_of(&err), "tensor '?[2J': unknown dtype \"?\"");
}
END_TEST

START_TEST(opens_what_is_valid)
{
    /* Out of order, a scalar, two empty tensors (one in the middle), padding behind the JSON. */
    static const char header[] =
        "{\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
        "\"scalar\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]},"
        "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[8,8]},"
        "\"end\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[20,20]},"
        "\"__metadata__\":{\"format\":\"pt\",\"k\":\"v\"}}   ";
    const size_t n = sizeof header - 1;
    struct mq_arena *arena;
    struct mq_safetensors st;
    moeq_error err;
    ck_assert_ok(open_file(write_file(n, header, n, 20), &arena, &st, &err));
    ck_assert_uint_eq(st.count, 4);
    const struct mq_st_entry *b = mq_safetensors_find(&st, "b");
    const struct mq_st_entry *scalar = mq_safetensors_find(&st, "scalar");
    const struct mq_st_entry *empty = mq_safetensors_find(&st, "empty");
    ck_assert(b && scalar && empty && mq_safetensors_find(&st, "end"));
    ck_assert_ptr_null(mq_safetensors_find(&st, "__metadata__"));
    ck_assert_ptr_null(mq_safetensors_find(&st, "c"));
    ck_assert_uint_eq(st.header_bytes, 8 + n);
    ck_assert_uint_eq(b->offset, 8 + n + 8);
    ck_assert_uint_eq(b->size_bytes, 12);
    ck_assert_uint_eq(b->dims, 2);
    ck_assert_uint_eq(b->shape[1], 3);
    ck_assert_int_eq(b->dtype, MQ_BF16);
    ck_assert_uint_eq(scalar->dims, 0);
    ck_assert_uint_eq(scalar->size_bytes, 8);
    ck_assert_uint_eq(empty->size_bytes, 0);
    ck_assert_str_eq(mq_metadata_get(st.metadata, "k"), "v");
    ck_assert_ptr_null(mq_metadata_get(st.metadata, "v"));
    mq_safetensors_close(&st);
    mq_arena_destroy(arena);
    ck_assert_ok(open_file(write_file(2, "{}", 2, 0), &arena, &st, &err));
    ck_assert_uint_eq(st.count, 0);
    mq_safetensors_close(&st);
    mq_arena_destroy(arena);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, refuses_bad_headers);
    tcase_add_test(tests, refuses_bad_lengths);
    tcase_add_test(tests, refuses_every_truncation);
    tcase_add_test(tests, refuses_deep_and_wide_json);
    tcase_add_test(tests, messages_are_printable);
    tcase_add_test(tests, opens_what_is_valid);
}

int main(void)
{
    return mq_test_main("test_safetensors", add_tests);
}
