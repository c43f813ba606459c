/*
 * gguf_vocab_bpe.c: byte-level BPE as the tokenizer "gpt2".
 *
 * The pre-tokenizer becomes a name, see gguf_vocab_pre.c. Merges are texts "left right" in the
 * order of ranks.
 */
#include "gguf_vocab_int.h"

#include "error.h"
#include "gguf_pre.h"

#include <string.h>

static moeq_status read_normalizer(struct mq_vocab *v, const cJSON *json, const char *type,
                                   void *user)
{
    (void)json, (void)user;
    return mq_vocab_is_unicode_form(v, type) ? MOEQ_OK
                                             : mq_vocab_unsupported(v, "normalizer", type);
}

/* A half of a merge. The one space that a merge has divides its halves, so that a space inside of
 * them, which no byte-level tokenizer needs, takes the character that byte-level BPE has for it. */
static void append_half(struct mq_buffer *b, const struct mq_vocab_text *half)
{
    for (size_t i = 0; i < half->size; i++) {
        if (half->data[i] == ' ')
            mq_buffer_puts(b, "\xc4\xa0"); /* U+0120 */
        else
            mq_buffer_putc(b, half->data[i]);
    }
}

static moeq_status put_merges(struct mq_gguf_writer *w, struct mq_vocab *v)
{
    const cJSON *first;
    MQ_TRY(mq_vocab_first_merge(v, &first));
    uint64_t count = 0;
    for (const cJSON *item = first; item; item = item->next)
        count++;
    mq_gguf_begin_array(w, MQ_GGUF_KEY_MERGES, MQ_GGUF_STRING, count);
    struct mq_buffer merge = {0};
    moeq_status status = MOEQ_OK;
    for (const cJSON *item = first; item; item = item->next) {
        struct mq_vocab_text left, right;
        MQ_TRY_OUT(mq_vocab_merge_halves(v, item, &left, &right));
        mq_buffer_clear(&merge);
        append_half(&merge, &left);
        mq_buffer_putc(&merge, ' ');
        append_half(&merge, &right);
        if (!mq_buffer_ok(&merge)) {
            status = mq_fail_memory(v->err, "exporting the vocabulary");
            goto out;
        }
        mq_gguf_append_string(w, merge.data, merge.size);
    }
out:
    mq_buffer_free(&merge);
    return status;
}

moeq_status mq_vocab_put_bpe(struct mq_gguf_writer *w, struct mq_vocab *v)
{
    const struct mq_gguf_pre *pre = NULL;
    MQ_TRY(mq_vocab_each(v, v->normalizer, "normalizers", "normalizer", NULL, read_normalizer));
    MQ_TRY(mq_vocab_find_pre(v, &pre));
    mq_gguf_put_string(w, MQ_GGUF_KEY_TOKENIZER, "gpt2", 4);
    mq_gguf_put_string(w, MQ_GGUF_KEY_PRE, pre->name, strlen(pre->name));
    mq_vocab_put_tokens(w, v, false);
    return put_merges(w, v);
}
