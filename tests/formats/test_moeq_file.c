/* test_moeq_file.c: the moeq profile: what convert writes is read back, laid out as FORMAT.md says,
 * and refused where it was tampered with. */
#include "moeq_profile.h"
#include "safetensors.h"
#include "stored.h"
#include "test_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static const char *converted(const char *level)
{
    static char path[1024];
    moeq_error err = {0};
    char name[64];
    snprintf(name, sizeof name, "%s.moeq", level);
    snprintf(path, sizeof path, "%s", mq_test_temporary(name));
    unlink(path);
    const moeq_status status = test_convert(mq_test_source(MIXTRAL), level, path, NULL, NULL, &err);
    ck_assert_msg(status == MOEQ_OK, "%s", err.message);
    return path;
}

START_TEST(reads_back_what_convert_wrote)
{
    static const char *const levels[] = {"q8_0", "q4_k", "q3_k", "f16", "bf16", "f32"};
    for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
        struct mq_view *source, *view;
        moeq_error err = {0};
        ck_assert_ok(mq_model_open(mq_test_source(MIXTRAL), &source, &err));
        ck_assert_msg(mq_model_open(converted(levels[l]), &view, &err) == MOEQ_OK, "%s",
                      err.message);
        ck_assert(view->kind == MQ_VIEW_MOEQ);
        ck_assert_int_eq(memcmp(&view->hparams, &source->hparams, sizeof view->hparams), 0);
        ck_assert_uint_eq(view->side[MQ_SIDE_CONFIG].size, source->side[MQ_SIDE_CONFIG].size);
        ck_assert_int_eq(memcmp(view->side[MQ_SIDE_CONFIG].data, source->side[MQ_SIDE_CONFIG].data,
                                view->side[MQ_SIDE_CONFIG].size),
                         0);
        ck_assert_uint_eq(view->tensors_count, source->tensors_count);
        for (size_t i = 0; i < view->tensors_count; i++) {
            const struct mq_tensor *a = &source->tensors[i], *b = &view->tensors[i];
            ck_assert_str_eq(a->name, b->name);
            ck_assert(a->role == b->role && a->layer == b->layer && a->expert == b->expert &&
                      a->rows == b->rows && a->cols == b->cols && a->dims == b->dims);
            if (mq_role_class(b->role) == MQ_CLASS_KEEP) {
                ck_assert_str_eq(b->storage, a->storage);
                unsigned char x[4096], y[4096];
                ck_assert_ok(mq_view_read_rows(source, a, 0, a->rows, x, &err));
                ck_assert_ok(mq_view_read_rows(view, b, 0, b->rows, y, &err));
                ck_assert_int_eq(memcmp(x, y, a->rows * a->row_bytes), 0);
            } else if (mq_role_class(b->role) == MQ_CLASS_EXPERTS) {
                ck_assert_str_eq(b->storage, levels[l]);
            }
        }
        mq_view_close(source);
        mq_view_close(view);
    }
}
END_TEST

/* Every expert's gate, up and down lie side by side from a multiple of 4096; so do layers. */
START_TEST(groups_are_aligned)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(converted("q4_k"), &view, &err));
    ck_assert_uint_eq(view->files[0].header_bytes % MQ_GROUP_ALIGN, 0);
    for (int32_t layer = 0; layer < (int32_t)view->hparams.layers; layer++) {
        const struct mq_tensor *norm = mq_view_find(view, MQ_ROLE_ATTN_NORM, layer, -1);
        ck_assert_uint_eq(norm->offset % MQ_GROUP_ALIGN, 0);
        for (int32_t expert = 0; expert < (int32_t)view->hparams.experts; expert++) {
            const struct mq_tensor *gate = mq_view_find(view, MQ_ROLE_EXPERT_GATE, layer, expert);
            const struct mq_tensor *up = mq_view_find(view, MQ_ROLE_EXPERT_UP, layer, expert);
            const struct mq_tensor *down = mq_view_find(view, MQ_ROLE_EXPERT_DOWN, layer, expert);
            ck_assert_uint_eq(gate->offset % MQ_GROUP_ALIGN, 0);
            ck_assert_uint_eq(up->offset, gate->offset + gate->rows * gate->row_bytes);
            ck_assert_uint_eq(down->offset, up->offset + up->rows * up->row_bytes);
        }
    }
    mq_view_close(view);
}
END_TEST

/* The checksum tensor, as FORMAT.md describes it, computed here without moeq's code. */
START_TEST(checksums_are_right)
{
    const char *path = converted("q3_k");
    struct mq_arena *arena = mq_arena_create();
    struct mq_safetensors st;
    moeq_error err = {0};
    ck_assert_ok(mq_safetensors_open(path, arena, &st, &err));
    struct mq_buffer bytes = test_read(path);
    const Bytef *data = (const Bytef *)bytes.data;
    const struct mq_st_entry *crc = mq_safetensors_find(&st, MQ_CRC_NAME);
    ck_assert_ptr_nonnull(crc);
    ck_assert_ptr_eq(crc, &st.entries[st.count - 1]);
    ck_assert_uint_eq(crc->size_bytes, 4 * (st.count + 1));
    uint32_t words[1000];
    ck_assert_uint_le(crc->size_bytes, sizeof words);
    memcpy(words, data + crc->offset, crc->size_bytes);
    for (size_t i = 0; i + 1 < st.count; i++) {
        const struct mq_st_entry *e = &st.entries[i];
        ck_assert_uint_eq(words[i], crc32_z(0, data + e->offset, e->size_bytes));
        if (strncmp(e->name, MQ_PAD_PREFIX, strlen(MQ_PAD_PREFIX)) == 0)
            for (uint64_t k = 0; k < e->size_bytes; k++)
                ck_assert_int_eq(data[e->offset + k], 0);
    }
    ck_assert_uint_eq(words[st.count - 1], crc32_z(0, data, st.header_bytes));
    ck_assert_uint_eq(words[st.count], crc32_z(0, data + crc->offset, crc->size_bytes - 4));
    mq_buffer_free(&bytes);
    mq_safetensors_close(&st);
    mq_arena_destroy(arena);
}
END_TEST

#define W1 "model.layers.0.block_sparse_moe.experts.0.w1.weight"

/* Edits that keep the header's length, so that only what was meant is wrong. */
static const struct {
    const char *old, *new;
    moeq_status status;
    const char *message; /* behind "path: " */
} tampered[] = {
    {"\"format\":\"moeq\"", "\"format\":\"mock\"", MOEQ_UNSUPPORTED,
     "is a safetensors file but no moeq file; for a Hugging Face model give its folder"},
    {"\"moeq.version\":\"1\"", "\"moeq.version\":\"2\"", MOEQ_UNSUPPORTED,
     "moeq.version is \"2\", this program reads \"1\""},
    {"\"moeq.version\":\"1\"", "\"moeq.mension\":\"1\"", MOEQ_UNSUPPORTED,
     "moeq.version is \"absent\", this program reads \"1\""},
    {"\"moeq.config.json\"", "\"moeq.confug.json\"", MOEQ_MALFORMED,
     "tensor 'moeq.config.json' is missing"},
    {W1 "\":\"q8_0 160 64\"", W1 "\":\"q9_0 160 64\"", MOEQ_UNSUPPORTED,
     "is stored at the unknown level \"q9_0\""},
    {W1 "\":\"q8_0 160 64\"", W1 "\":\"bf16 160 64\"", MOEQ_MALFORMED,
     "a row of 64 weights at bf16 has 128 bytes, the file has 68"},
    {W1 "\":\"q8_0 160 64\"", W1 "\":\"q8_0 064 99\"", MOEQ_MALFORMED,
     "expected shape [160, 64] from config.json, metadata gives [64, 99]"},
    {W1 "\":\"q8_0 160 64\"", W1 "\":\"q8_0 160 6x\"", MOEQ_MALFORMED,
     "metadata: expected \"<level> <rows> <cols>\", found \"q8_0 160 6x\""},
    {"moeq.tensor." W1, "moeq.tensos." W1, MOEQ_UNSUPPORTED,
     "weights of dtype U8 are not supported (F32, F16, BF16)"},
    {"\"" W1 "\":{\"dtype\":\"U8\",\"shape\":[160,68]",
     "\"" W1 "\":{\"dtype\":\"U8\",\"shape\":[80,136]", MOEQ_MALFORMED,
     "expected U8 [160, bytes a row]"},
    {"\"" W1 "\":{\"dtype\":\"U8\",\"shape\":[160,68]",
     "\"" W1 "\":{\"dtype\":\"U8\",\"shape\":[68,160]", MOEQ_MALFORMED,
     "expected U8 [160, bytes a row]"},
    {"\"" W1 "\":{\"dtype\":\"U8\"", "\"" W1 "\":{\"dtype\":\"I8\"", MOEQ_MALFORMED,
     "expected U8 [160, bytes a row]"},
};

START_TEST(refuses_tampering)
{
    struct mq_buffer good = test_read(converted("q8_0"));
    const char *path = mq_test_temporary("tampered.moeq");
    for (size_t i = 0; i < sizeof tampered / sizeof *tampered; i++) {
        const size_t n = strlen(tampered[i].old);
        ck_assert_uint_eq(strlen(tampered[i].new), n);
        struct mq_buffer b = {0};
        mq_buffer_append(&b, good.data, good.size);
        char *at = memmem(b.data, b.size, tampered[i].old, n);
        ck_assert_msg(at != NULL, "no %s", tampered[i].old);
        memcpy(at, tampered[i].new, n);
        test_write(path, b.data, b.size);
        struct mq_view *view;
        moeq_error err = {0};
        /* and not that the header has another checksum, which is all that is said of most edits otherwise */
        const struct mq_open_options unchecked = {.no_check = true};
        ck_assert_int_ne(mq_model_open(path, &view, NULL), MOEQ_OK);
        const moeq_status status = mq_model_open_with(path, &unchecked, &view, &err);
        ck_assert_msg(status == tampered[i].status, "%s: %s", tampered[i].new, err.message);
        ck_assert_str_eq(err.path, path);
        const size_t m = strlen(err.message), k = strlen(tampered[i].message);
        ck_assert_msg(m > k && strcmp(err.message + m - k, tampered[i].message) == 0, "%s",
                      err.message);
        mq_buffer_free(&b);
    }
    mq_buffer_free(&good);
}
END_TEST

/* A file whose moeq.config.json is `bytes`: a header and that tensor. */
static const char *with_config(const void *bytes, size_t n)
{
    const char *path = mq_test_temporary("side.moeq");
    struct mq_buffer json = {0}, file = {0};
    mq_buffer_printf(
        &json,
        "{\"__metadata__\":{\"format\":\"moeq\",\"moeq.version\":\"1\"},"
        "\"moeq.config.json\":{\"dtype\":\"U8\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}}",
        n, n);
    const unsigned char prefix[8] = {(unsigned char)json.size, (unsigned char)(json.size >> 8)};
    mq_buffer_append(&file, prefix, 8);
    mq_buffer_append(&file, json.data, json.size);
    mq_buffer_append(&file, bytes, n);
    test_write(path, file.data, file.size);
    mq_buffer_free(&json);
    mq_buffer_free(&file);
    return path;
}

static void ends_in(const char *path, moeq_status status, const char *end)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_int_eq(mq_model_open(path, &view, &err), status);
    const size_t m = strlen(err.message), k = strlen(end);
    ck_assert_msg(m > k && strcmp(err.message + m - k, end) == 0, "%s", err.message);
}

START_TEST(refuses_bad_side_files)
{
    static const char garbage[] = "no zlib stream";
    ends_in(with_config(garbage, sizeof garbage), MOEQ_MALFORMED, "is no complete zlib stream");
    ends_in(with_config("", 0), MOEQ_MALFORMED, "is no complete zlib stream");
    /* 64 MiB of zeros in 64 KiB: more than a config may have. */
    const uLong bomb = 64u << 20;
    uLongf n = compressBound(bomb);
    Bytef *zeros = calloc(bomb, 1), *packed = malloc(n);
    ck_assert(zeros && packed);
    ck_assert_int_eq(compress2(packed, &n, zeros, bomb, 9), Z_OK);
    ck_assert_uint_lt(n, 100000);
    ends_in(with_config(packed, n), MOEQ_MALFORMED, "inflates to more than such a file may have");
    ck_assert_int_eq(compress2(packed, &n, (const Bytef *)"{}", 2, 9), Z_OK);
    ends_in(with_config(packed, n), MOEQ_MALFORMED, "moeq.config.json: \"model_type\" is missing");
    ends_in(with_config(packed, n - 1), MOEQ_MALFORMED, "is no complete zlib stream");
    packed[n] = 0;
    ends_in(with_config(packed, n + 1), MOEQ_MALFORMED, "has bytes after its zlib stream");
    free(zeros);
    free(packed);
}
END_TEST

START_TEST(names_other_formats)
{
    const char *path = mq_test_temporary("other.bin");
    test_write(path, "GGUF\3\0\0\0\0\0\0\0\0\0\0\0", 16);
    ends_in(path, MOEQ_MALFORMED,
            "at byte 16: the number of keys needs 8 bytes, but the file ends after 0 (truncated?)");
    test_write(path, "PK\3\4rest", 8);
    ends_in(path, MOEQ_UNSUPPORTED,
            "is a zip archive, no model: unpack it, and give what is inside; if PyTorch wrote it "
            "(.bin, .pt, .pth), it can run code when loaded, and moeq does not load it");
    ends_in(test_path(mq_test_source(MIXTRAL), "config.json"), MOEQ_UNSUPPORTED,
            "is JSON; for a Hugging Face model give its folder");
    ends_in(test_path(mq_test_source(MIXTRAL_FUSED), "model.safetensors"), MOEQ_UNSUPPORTED,
            "is a safetensors file but no moeq file; for a Hugging Face model give its folder");
    test_write(path, "", 0);
    ends_in(path, MOEQ_MALFORMED,
            "is empty (a download or copy that did not begin, or ran out of disk), no model: fetch "
            "it again (hf download OWNER/NAME FILE, which checks what came)");
}
END_TEST

/* Fused and unfused experts are the same model: only the note of the source may differ. */
START_TEST(fused_and_unfused_give_the_same_weights)
{
    static char a_path[1024], b_path[1024];
    snprintf(a_path, sizeof a_path, "%s", converted("q4_k"));
    snprintf(b_path, sizeof b_path, "%s", mq_test_temporary("fused.moeq"));
    unlink(b_path);
    moeq_error err = {0};
    ck_assert_msg(test_convert(mq_test_source(MIXTRAL_FUSED), "q4_k", b_path, NULL, NULL, &err) ==
                      MOEQ_OK,
                  "%s", err.message);
    struct mq_view *a, *b;
    ck_assert_ok(mq_model_open(a_path, &a, &err));
    ck_assert_ok(mq_model_open(b_path, &b, &err));
    ck_assert_uint_eq(a->tensors_count, b->tensors_count);
    struct mq_buffer x = test_read(a_path), y = test_read(b_path);
    for (size_t i = 0; i < a->tensors_count; i++) {
        const struct mq_tensor *s = &a->tensors[i], *t = &b->tensors[i];
        ck_assert_str_eq(s->name, t->name);
        ck_assert_str_eq(s->storage, t->storage);
        ck_assert_uint_eq(s->row_bytes, t->row_bytes);
        ck_assert_msg(memcmp(x.data + s->offset, y.data + t->offset, s->rows * s->row_bytes) == 0,
                      "%s differs", s->name);
    }
    mq_buffer_free(&x);
    mq_buffer_free(&y);
    mq_view_close(a);
    mq_view_close(b);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, reads_back_what_convert_wrote);
    tcase_add_test(tests, groups_are_aligned);
    tcase_add_test(tests, checksums_are_right);
    tcase_add_test(tests, refuses_tampering);
    tcase_add_test(tests, refuses_bad_side_files);
    tcase_add_test(tests, names_other_formats);
    tcase_add_test(tests, fused_and_unfused_give_the_same_weights);
}

int main(void)
{
    return mq_test_main("test_moeq_file", add_tests);
}
