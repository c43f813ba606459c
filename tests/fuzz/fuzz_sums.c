/* fuzz_sums.c: a list of SHA-256 sums. What is read leads nowhere else, and reads the same when it is written. */
#include "sums_list.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_written(const struct mq_sums *sums, struct mq_arena *arena)
{
    struct mq_buffer text = {0};
    struct mq_sums again;
    for (size_t i = 0; i < sums->count; i++)
        mq_sums_put(&text, sums->rows[i].sha256, sums->rows[i].name);
    if (!mq_buffer_ok(&text) ||
        mq_sums_parse("fuzz", text.data, text.size, arena, &again, NULL) != MOEQ_OK ||
        again.count != sums->count)
        abort();
    for (size_t i = 0; i < sums->count; i++)
        if (strcmp(again.rows[i].name, sums->rows[i].name) != 0 ||
            strcmp(again.rows[i].sha256, sums->rows[i].sha256) != 0)
            abort();
    mq_buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_sums sums;
    moeq_error err = {0};
    if (!arena)
        return 0;
    const moeq_status status = mq_sums_parse("fuzz", (const char *)data, size, arena, &sums, &err);
    if (status != MOEQ_OK && !err.message[0])
        abort();
    for (size_t i = 0; status == MOEQ_OK && i < sums.count; i++)
        if (sums.rows[i].name[0] == '/' || strncmp(sums.rows[i].name, "../", 3) == 0 ||
            strlen(sums.rows[i].sha256) != 64)
            abort();
    if (status == MOEQ_OK)
        check_written(&sums, arena);
    mq_arena_destroy(arena);
    return 0;
}
