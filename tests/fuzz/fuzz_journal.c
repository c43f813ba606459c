/*
 * fuzz_journal.c: the journal of an interrupted conversion (OUT.part.journal), for a plan of the model below. The first
 * byte: bit 0: the sums of lines are made right.
 *
 * Beyond "no crash": the lines that are read, written anew, are the text up to where they end; what they say is finished
 * is no more than there is, and agrees with what is left.
 */
#include "fuzz_support.h"

#include "chunks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { PLAN = 0x01234567, FIRST_LINE = 24, LINE = 56, CHECK = 46, STAMP = 7 };

/* Embeddings and head of several chunks. */
static const char config[] =
    "{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":64,"
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
    "\"vocab_size\":40000,\"rms_norm_eps\":1e-5,\"tie_word_embeddings\":false}";

static const struct mq_plan *plan(void)
{
    static struct mq_plan *made;
    static struct fuzz_file file;
    const struct mq_policy as_stored = {0};
    struct mq_view *view;
    moeq_error err = {0};
    if (made)
        return made;
    fuzz_expect(mq_view_from_config(fuzz_put(&file, config, sizeof config - 1), NULL, &view,
                                    &err) == MOEQ_OK);
    fuzz_expect(mq_plan_create(view, &as_stored, &made, &err) == MOEQ_OK);
    return made;
}

static void mend(char *text, size_t size)
{
    for (size_t at = FIRST_LINE; size >= LINE && at <= size - LINE; at += LINE) {
        char sum[16];
        snprintf(sum, sizeof sum, " %08lx\n", crc32_z(0, (const Bytef *)text + at, CHECK));
        memcpy(text + at + CHECK, sum, LINE - CHECK);
    }
}

static void check_lines(const char *text, const struct mq_journal_line *lines, size_t count,
                        uint64_t end)
{
    struct mq_buffer again = {0};
    mq_journal_begin(&again, PLAN);
    for (size_t i = 0; i < count; i++)
        mq_journal_put(&again, &lines[i]);
    fuzz_expect(mq_buffer_ok(&again) && again.size == end && memcmp(again.data, text, end) == 0);
    mq_buffer_free(&again);
}

static void check_chunks(const struct mq_chunks *c)
{
    uint64_t all = 0;
    for (size_t i = 0; i < c->tensors_count; i++) {
        const struct mq_chunked *t = &c->tensors[i];
        uint32_t left = 0;
        for (uint32_t k = 0; k < t->chunks; k++)
            left += !c->skip[t->first + k];
        fuzz_expect(left == atomic_load(&t->left));
        fuzz_expect(c->done[t->entry->item] == (left == 0));
        if (left == 0)
            fuzz_expect(mq_chunks_crc(c, t) == c->item_crcs[t->entry->item]);
        all += t->entry->tensor->rows * t->entry->tensor->row_bytes;
    }
    fuzz_expect(mq_chunks_done_bytes(c) <= all && mq_chunks_done_tensors(c) <= c->tensors_count);
    fuzz_expect(!c->settled || mq_chunks_done_tensors(c) == c->tensors_count);
}

static void resume(const struct mq_journal_line *lines, size_t count)
{
    struct mq_chunks chunks;
    moeq_error err = {0};
    fuzz_expect(mq_chunks_create(&chunks, plan(), NULL, &err) == MOEQ_OK);
    fuzz_expect(mq_chunks_resume(&chunks, lines, count, STAMP, &err) == MOEQ_OK);
    check_chunks(&chunks);
    mq_chunks_free(&chunks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mq_journal_line *lines;
    size_t count;
    uint64_t end = 0;
    moeq_error err = {0};
    if (!size)
        return 0;
    char *text = malloc(size);
    fuzz_expect(text != NULL);
    memcpy(text, data + 1, size - 1);
    if (data[0] & 1)
        mend(text, size - 1);
    fuzz_expect(mq_journal_read(text, size - 1, PLAN, &lines, &count, &end, &err) == MOEQ_OK);
    if (lines) {
        fuzz_expect(mq_journal_is(text, size - 1));
        check_lines(text, lines, count, end);
        resume(lines, count);
    }
    free(lines);
    free(text);
    return 0;
}
