/*
 * fuzz_gguf.c: a whole GGUF file, opened as a model.
 *
 * Beyond "no crash": every row that an accepted view promises can be read, the tokenizer.json that
 * is made of the metadata is one that can be loaded, or refused with a message, the metadata that
 * are carried can be read again, and another GGUF file be planned of them, or refused; and folders for other runtimes.
 */
#include "fuzz_support.h"

#include "gguf_carried.h"
#include "plan.h"
#include "stored.h"
#include "tokenizer.h"
#include "what_is_it.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void check_message(const moeq_error *err)
{
    if (!err->message[0] || strchr(err->message, '\n'))
        abort();
}

static void load_tokenizer(const struct mq_view *view)
{
    const struct mq_buffer *json = &view->side[MQ_SIDE_TOKENIZER];
    struct mq_tokenizer *tokenizer;
    struct mq_ids ids = {0};
    moeq_error err = {0};
    if (!json->size)
        return;
    if (mq_tokenizer_load(json->data, json->size, "fuzz", &tokenizer, &err) != MOEQ_OK) {
        check_message(&err);
        return;
    }
    if (mq_tokenizer_encode(tokenizer, "ab a\nb", 6, true, &ids, &err) != MOEQ_OK)
        check_message(&err);
    mq_ids_free(&ids);
    mq_tokenizer_free(tokenizer);
}

static void export_again(const struct mq_view *view)
{
    const struct mq_gguf_options options = {.unify_up = true};
    const struct mq_policy as_stored = {0};
    struct mq_arena *arena = mq_arena_create();
    struct mq_plan *plan = NULL;
    struct mq_gguf carried;
    moeq_error err = {0};
    if (!arena || mq_gguf_read_carried(view, arena, &carried, &err) != MOEQ_OK)
        abort();
    mq_gguf_close(&carried);
    mq_arena_destroy(arena);
    if (mq_plan_create_gguf(view, &as_stored, &options, &plan, &err) != MOEQ_OK)
        check_message(&err);
    mq_plan_free(plan);
    for (int f = 0; f < MQ_FOLDER_FORMATS; f++) {
        const struct mq_folder_options folder = {.format = (enum mq_folder_format)f,
                                                 .unify_up = true};
        plan = NULL;
        if (mq_plan_create_folder(view, &as_stored, &folder, &plan, &err) != MOEQ_OK)
            check_message(&err);
        mq_plan_free(plan);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mq_what what;
    mq_what_is(data, size, size, &what);
    if (what.kind != MQ_FILE_UNKNOWN && !what.advice)
        abort();
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);
    char path[64];
    struct mq_view *view;
    moeq_error err = {0};
    if (size < 4 || memcmp(data, "GGUF", 4) != 0) /* others have a target of their own */
        goto out;
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (mq_view_open(path, &view, &err) == MOEQ_OK) {
        for (size_t i = 0; i < view->tensors_count; i++)
            fuzz_read_rows(view, &view->tensors[i], 0);
        load_tokenizer(view);
        export_again(view);
        mq_view_close(view);
    } else {
        check_message(&err);
    }
out:
    close(fd);
    return 0;
}
