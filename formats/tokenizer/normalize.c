/*
 * normalize.c: Prepend, Replace and the Unicode normalization forms.
 *
 * A normalizer sees one segment between added tokens at a time: Prepend's text comes before each of
 * them, and a combining mark behind an added token composes with nothing. An empty segment stays
 * empty.
 */
#include "tokenizer_int.h"

#include "error.h"
#include "unicode_form.h"

#include <utf8proc.h>

#include <stdlib.h>
#include <string.h>

/* A segment may grow by this much in all steps together. Published tokenizers stay below 4: one
 * byte, a space, becomes the three of U+2581. NFKD's worst character grows by 11. */
enum { MAX_GROWTH = 64, GROWTH_FREE_BYTES = 1 << 16 };

static moeq_status load_step(struct mq_load *load, const cJSON *json, const char *type)
{
    static const struct {
        const char *type;
        int options;
    } forms[] = {
        {"NFC", UTF8PROC_STABLE | UTF8PROC_COMPOSE},
        {"NFD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
        {"NFKC", UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
        {"NFKD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
    };
    struct mq_tokenizer *t = load->tokenizer;
    struct mq_normalizer_step step = {0};
    if (strcmp(type, "Prepend") == 0) {
        step.kind = MQ_NORM_PREPEND;
        MQ_TRY(mq_load_text(load, json, "prepend", "normalizer Prepend", &step.to));
    } else if (strcmp(type, "Replace") == 0) {
        step.kind = MQ_NORM_REPLACE;
        const cJSON *pattern = mq_json_get(json, "pattern");
        if (mq_json_get(pattern, "Regex"))
            return mq_load_unsupported(load, "normalizer Replace", "pattern Regex");
        MQ_TRY(mq_load_text(load, pattern, "String", "normalizer Replace", &step.from));
        MQ_TRY(mq_load_text(load, json, "content", "normalizer Replace", &step.to));
    } else {
        step.kind = MQ_NORM_UNICODE;
        for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
            if (strcmp(type, forms[i].type) == 0)
                step.unicode_options = forms[i].options;
        if (!step.unicode_options)
            return mq_load_unsupported(load, "normalizer", type);
    }
    if (t->normalizer_count == MQ_MAX_STEPS)
        return mq_load_malformed(load, "normalizer", "too many steps");
    t->normalizers[t->normalizer_count++] = step;
    return MOEQ_OK;
}

moeq_status mq_normalizer_load(struct mq_load *load, const cJSON *json)
{
    return mq_load_sequence(load, json, "normalizers", "normalizer", load_step);
}

void mq_replace_text(const char *text, size_t n, const struct mq_text *from,
                     const struct mq_text *to, struct mq_buffer *out)
{
    /* `tokenizers` lets an empty pattern match nowhere. */
    for (const char *at; from->size && n && (at = memmem(text, n, from->data, from->size));) {
        mq_buffer_append(out, text, (size_t)(at - text));
        mq_buffer_append(out, to->data, to->size);
        n -= (size_t)(at - text) + from->size;
        text = at + from->size;
    }
    mq_buffer_append(out, text, n);
}

/* A quick yes: ASCII is in every form, and text of characters below U+0300, the first combining
 * mark, is in NFC. Most text is the one or the other, and utf8proc takes 4 bytes a character. */
static bool already_normal(const struct mq_buffer *text, int options)
{
    const bool nfc = options == (UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    const unsigned char limit = nfc ? 0xcc : 0x80; /* the lead byte of U+0300 */
    for (size_t i = 0; i < text->size; i++)
        if ((unsigned char)text->data[i] >= limit)
            return false;
    return true;
}

static moeq_status normalize_unicode(int options, const struct mq_buffer *text,
                                     struct mq_buffer *out, moeq_error *err)
{
    if (already_normal(text, options)) {
        mq_buffer_append(out, text->data, text->size);
        return MOEQ_OK;
    }
    return mq_unicode_form(options, text->data, text->size, out, err);
}

moeq_status mq_normalize(const struct mq_tokenizer *tokenizer, struct mq_buffer *text,
                         struct mq_buffer *scratch, moeq_error *err)
{
    const size_t limit = text->size * MAX_GROWTH + GROWTH_FREE_BYTES;
    for (size_t i = 0; i < tokenizer->normalizer_count && text->size; i++) {
        const struct mq_normalizer_step *step = &tokenizer->normalizers[i];
        mq_buffer_clear(scratch);
        switch (step->kind) {
        case MQ_NORM_PREPEND:
            mq_buffer_append(scratch, step->to.data, step->to.size);
            mq_buffer_append(scratch, text->data, text->size);
            break;
        case MQ_NORM_REPLACE:
            mq_replace_text(text->data, text->size, &step->from, &step->to, scratch);
            break;
        case MQ_NORM_UNICODE:
            MQ_TRY(normalize_unicode(step->unicode_options, text, scratch, err));
            break;
        }
        if (!mq_buffer_ok(scratch))
            return mq_fail_memory(err, "normalizing text");
        if (scratch->size > limit)
            return mq_fail(err, MOEQ_LIMIT,
                           "the tokenizer's normalizer makes more than %zu bytes of text", limit);
        const struct mq_buffer t = *text;
        *text = *scratch;
        *scratch = t;
    }
    return MOEQ_OK;
}
