/*
 * gguf_vocab_bpe.c: byte-level BPE as the tokenizer "gpt2".
 *
 * llama.cpp has the split patterns built in and a GGUF file only names one, so a tokenizer is
 * looked up by its pattern in mq_gguf_pres. Merges are texts "left right" in the order of ranks.
 */
#include "gguf_vocab_int.h"

#include "error.h"

#include <string.h>

/* The pre-tokenizer: any number of Splits, then ByteLevel. */
struct splitting {
    unsigned patterns;
    const char *pattern; /* the last Split's; NULL: ByteLevel's own */
    bool bytes, own_pattern;
};

static moeq_status read_normalizer(struct mq_vocab *v, const cJSON *json, const char *type,
                                   void *user)
{
    (void)json, (void)user;
    return mq_vocab_is_unicode_form(v, type) ? MOEQ_OK
                                             : mq_vocab_unsupported(v, "normalizer", type);
}

/* A Split that makes words of all matches and of what is between them; known patterns match any
 * text, so that Removed and inverted says the same. */
static moeq_status read_split(struct mq_vocab *v, const cJSON *json, struct splitting *s)
{
    const cJSON *behavior = mq_json_get(json, "behavior");
    const cJSON *regex = mq_json_get(mq_json_get(json, "pattern"), "Regex");
    const char *name = cJSON_IsString(behavior) ? behavior->valuestring : "";
    const char *expected = cJSON_IsTrue(mq_json_get(json, "invert")) ? "Removed" : "Isolated";
    if (!cJSON_IsString(regex))
        return mq_vocab_unsupported(v, "pre-tokenizer", "Split without a regular expression");
    if (strcmp(name, expected) != 0)
        return mq_vocab_unsupported(v, "pre-tokenizer Split: behavior", name);
    s->pattern = regex->valuestring;
    s->patterns++;
    return MOEQ_OK;
}

static moeq_status read_pre_tokenizer(struct mq_vocab *v, const cJSON *json, const char *type,
                                      void *user)
{
    struct splitting *s = user;
    if (strcmp(type, "Split") == 0 && !s->bytes)
        return read_split(v, json, s);
    if (strcmp(type, "ByteLevel") != 0 || s->bytes)
        return mq_vocab_unsupported(v, "pre-tokenizer", type);
    s->bytes = true;
    s->own_pattern = !cJSON_IsFalse(mq_json_get(json, "use_regex"));
    if (cJSON_IsTrue(mq_json_get(json, "add_prefix_space")))
        mq_vocab_warn(v, "it puts no space in front of a text");
    return MOEQ_OK;
}

/* No name: says which pattern, shortened at a character, and what names there are. */
static moeq_status fail_pattern(struct mq_vocab *v, const struct splitting *s, bool ignore_merges)
{
    enum { SHOWN = 60 };
    const char *pattern = s->pattern ? s->pattern : "ByteLevel";
    size_t n = strlen(pattern);
    const bool cut = n > SHOWN;
    if (cut)
        for (n = SHOWN; n && ((unsigned char)pattern[n] & 0xc0) == 0x80;)
            n--;
    struct mq_buffer names = {0};
    for (size_t i = 0; i < mq_gguf_pres_count; i++)
        mq_buffer_printf(&names, "%s%s", i ? ", " : "", mq_gguf_pres[i].name);
    const moeq_status status =
        mq_buffer_ok(&names)
            ? mq_fail_file(v->err, MOEQ_UNSUPPORTED, v->path,
                           "GGUF has no name for the split pattern%s '%.*s%s'%s (known: %s)",
                           s->patterns > 1 ? "s that end with" : "", (int)n, pattern,
                           cut ? "..." : "", ignore_merges ? " with ignore_merges" : "", names.data)
            : mq_fail_memory(v->err, "exporting the vocabulary");
    mq_buffer_free(&names);
    return status;
}

/* The row of the pattern, which must agree on ignore_merges as well: a file has no key for it. */
static moeq_status find_pre(struct mq_vocab *v, const struct mq_gguf_pre **pre)
{
    struct splitting s = {0};
    const bool ignore_merges = cJSON_IsTrue(mq_json_get(v->model, "ignore_merges"));
    MQ_TRY(mq_vocab_each(v, v->pre_tokenizer, "pretokenizers", "pre-tokenizer", &s,
                         read_pre_tokenizer));
    if (!s.bytes)
        return mq_vocab_unsupported(v, "model", "BPE with neither byte_fallback nor ByteLevel");
    for (size_t i = 0; i < mq_gguf_pres_count; i++) {
        *pre = &mq_gguf_pres[i];
        const char *known = (*pre)->pattern;
        const bool same = known ? s.patterns == 1 && !s.own_pattern && strcmp(known, s.pattern) == 0
                                : s.patterns == 0 && s.own_pattern;
        if (!same || (*pre)->ignore_merges != ignore_merges)
            continue;
        /* llama.cpp's regular expressions have no \p{Lu}; it writes [^a-z] and the like. */
        if (known && strstr(known, "\\p{Lu}"))
            mq_vocab_warn(v,
                          "its pattern '%s' tells upper from lower case in ASCII only and takes "
                          "no combining mark for a part of a word",
                          (*pre)->name);
        return MOEQ_OK;
    }
    return fail_pattern(v, &s, ignore_merges);
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
    MQ_TRY(find_pre(v, &pre));
    mq_gguf_put_string(w, MQ_GGUF_KEY_TOKENIZER, "gpt2", 4);
    mq_gguf_put_string(w, MQ_GGUF_KEY_PRE, pre->name, strlen(pre->name));
    mq_vocab_put_tokens(w, v, false);
    return put_merges(w, v);
}
