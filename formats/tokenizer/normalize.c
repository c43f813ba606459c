/*
 * normalize.c: Prepend, Replace, Strip and the Unicode normalization forms; the others are in
 * sp_normalize.c.
 *
 * A normalizer sees one segment between added tokens at a time: Prepend's text comes before each of
 * them, and a combining mark behind an added token composes with nothing. An empty segment stays
 * empty.
 */
#include "normalize_int.h"

#include "charsmap.h"
#include "error.h"
#include "unicode_form.h"
#include "utf8.h"

#include <utf8proc.h>

#include <stdlib.h>
#include <string.h>

/* A pattern that is text, or a regular expression. */
static moeq_status load_replace(struct mq_load *load, const cJSON *json,
                                struct mq_normalizer_step *step)
{
    static const char what[] = "normalizer Replace";
    const cJSON *pattern = mq_json_get(json, "pattern");
    struct mq_text regex;
    MQ_TRY(mq_load_text(load, json, "content", what, &step->to));
    step->kind = MQ_NORM_REPLACE;
    if (!mq_json_get(pattern, "Regex"))
        return mq_load_text(load, pattern, "String", what, &step->from);
    step->kind = MQ_NORM_REPLACE_REGEX;
    MQ_TRY(mq_load_text(load, pattern, "Regex", what, &regex));
    return mq_pattern_regex(regex.data, regex.size, load->path, &step->pattern, load->err);
}

static moeq_status load_strip(struct mq_load *load, const cJSON *json,
                              struct mq_normalizer_step *step)
{
    step->kind = MQ_NORM_STRIP;
    MQ_TRY(mq_load_flag(load, json, "strip_left", "normalizer Strip", -1, &step->left));
    return mq_load_flag(load, json, "strip_right", "normalizer Strip", -1, &step->right);
}

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
        MQ_TRY(load_replace(load, json, &step));
    } else if (strcmp(type, "Strip") == 0) {
        MQ_TRY(load_strip(load, json, &step));
    } else if (strcmp(type, "Precompiled") == 0) {
        step.kind = MQ_NORM_PRECOMPILED;
        MQ_TRY(mq_charsmap_load(load, json, "normalizer Precompiled", &step.charsmap));
    } else if (strcmp(type, "SentencePiece") == 0) {
        step.kind = MQ_NORM_SENTENCEPIECE;
        MQ_TRY(mq_sp_normalizer_load(load, json, &step));
    } else {
        step.kind = MQ_NORM_UNICODE;
        for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
            if (strcmp(type, forms[i].type) == 0)
                step.unicode_options = forms[i].options;
        if (!step.unicode_options)
            return mq_load_unsupported(load, "normalizer", type);
    }
    if (t->normalizer_count == MQ_MAX_STEPS) {
        mq_pattern_free(step.pattern);
        return mq_load_malformed(load, "normalizer", "too many steps");
    }
    t->normalizers[t->normalizer_count++] = step;
    return MOEQ_OK;
}

moeq_status mq_normalizer_load(struct mq_load *load, const cJSON *json)
{
    return mq_load_sequence(load, json, "normalizers", "normalizer", load_step);
}

void mq_normalizer_free(struct mq_tokenizer *tokenizer)
{
    for (size_t i = 0; i < tokenizer->normalizer_count; i++)
        mq_pattern_free(tokenizer->normalizers[i].pattern);
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

/* What becomes of the bytes that come of the input's offset 0 (`old`: they are before this) when
 * text is replaced: `tokenizers` counts what stands for a match to its last character. */
struct origin {
    size_t old, new;
};

/* The match is replaced by `size` bytes, which start at `at` of the new text. */
static void move_origin(struct origin *origin, const char *text, const struct mq_span *match,
                        size_t at, size_t size)
{
    if (match->start >= origin->old)
        return;
    const size_t last =
        match->end > match->start ? mq_utf8_previous(text, match->end) : match->start;
    origin->new = at + (last < origin->old ? size : 0) +
                  (match->end < origin->old ? origin->old - match->end : 0);
}

static void replace_literal(const struct mq_normalizer_step *step, const struct mq_buffer *text,
                            struct origin *origin, struct mq_buffer *out)
{
    const size_t size = step->from.size;
    size_t done = 0, at = 0;
    for (const char *found;
         size && done < origin->old &&
         (found = memmem(text->data + done, text->size - done, step->from.data, size));
         done += size, at += step->to.size) {
        const size_t start = (size_t)(found - text->data);
        at += start - done;
        done = start;
        move_origin(origin, text->data, &(struct mq_span){start, start + size}, at, step->to.size);
    }
    mq_replace_text(text->data, text->size, &step->from, &step->to, out);
}

/* An empty match is replaced like any other, but not right behind the match before. */
static moeq_status replace_regex(const struct mq_normalizer_step *step,
                                 const struct mq_buffer *text, struct mq_matcher *matcher,
                                 struct origin *origin, size_t limit, struct mq_buffer *out,
                                 moeq_error *err)
{
    mq_matcher_grant(matcher, text->size);
    size_t done = 0, from = 0;
    bool found, any = false;
    for (struct mq_span match; from <= text->size;) {
        uint32_t code;
        MQ_TRY(mq_pattern_find(step->pattern, matcher, text->data, text->size, from, &match, &found,
                               err));
        if (!found)
            break;
        if (match.start == match.end && any && match.end == done) {
            from += from < text->size ? mq_utf8_next(text->data + from, &code) : 1;
            continue;
        }
        mq_buffer_append(out, text->data + done, match.start - done);
        move_origin(origin, text->data, &match, out->size, step->to.size);
        mq_buffer_append(out, step->to.data, step->to.size);
        done = from = match.end;
        any = true;
        if (out->size > limit)
            return mq_normalizer_fail_limit(limit, err);
    }
    mq_buffer_append(out, text->data + done, text->size - done);
    return MOEQ_OK;
}

static void strip(const struct mq_normalizer_step *step, const struct mq_buffer *text,
                  struct origin *origin, struct mq_buffer *out)
{
    size_t start = 0, end = text->size, length;
    uint32_t code;
    for (; step->left && start < end; start += length) {
        length = mq_utf8_next(text->data + start, &code);
        if (!mq_is_white_space(code))
            break;
    }
    while (step->right && end > start) {
        const size_t previous = mq_utf8_previous(text->data, end);
        mq_utf8_next(text->data + previous, &code);
        if (!mq_is_white_space(code))
            break;
        end = previous;
    }
    mq_buffer_append(out, text->data + start, end - start);
    origin->new = origin->old > start ? origin->old - start : 0;
}

static moeq_status apply(const struct mq_tokenizer *tokenizer,
                         const struct mq_normalizer_step *step, struct mq_matcher *matcher,
                         bool at_start, const struct mq_buffer *text, struct origin *origin,
                         size_t limit, struct mq_buffer *out, moeq_error *err)
{
    switch (step->kind) {
    case MQ_NORM_PREPEND: /* counts to the first character */
        mq_buffer_append(out, step->to.data, step->to.size);
        mq_buffer_append(out, text->data, text->size);
        origin->new = origin->old ? origin->old + step->to.size : 0;
        break;
    case MQ_NORM_REPLACE:
        replace_literal(step, text, origin, out);
        break;
    case MQ_NORM_REPLACE_REGEX:
        return replace_regex(step, text, matcher, origin, limit, out, err);
    case MQ_NORM_UNICODE:
        return normalize_unicode(step->unicode_options, text, out, err);
    case MQ_NORM_STRIP:
        strip(step, text, origin, out);
        break;
    case MQ_NORM_PRECOMPILED:
        return mq_precompiled_normalize(step, text, limit, out, err);
    case MQ_NORM_SENTENCEPIECE:
        return mq_sp_normalize(tokenizer, step, at_start, text, limit, out, err);
    }
    return MOEQ_OK;
}

moeq_status mq_normalize(const struct mq_tokenizer *tokenizer, struct mq_matcher *matcher,
                         bool at_start, struct mq_buffer *text, struct mq_buffer *scratch,
                         size_t *origin, moeq_error *err)
{
    const size_t limit = mq_growth_limit(text->size);
    size_t work = 0; /* bytes that the steps have made, all together */
    *origin = at_start;
    for (size_t i = 0; i < tokenizer->normalizer_count && text->size; i++) {
        struct origin o = {*origin, *origin};
        mq_buffer_clear(scratch);
        MQ_TRY(apply(tokenizer, &tokenizer->normalizers[i], matcher, at_start, text, &o, limit,
                     scratch, err));
        if (!mq_buffer_ok(scratch))
            return mq_fail_memory(err, "normalizing text");
        work += scratch->size;
        if (scratch->size > limit || work / MQ_GROWTH_STEPS > limit)
            return mq_normalizer_fail_limit(limit, err);
        const struct mq_buffer t = *text;
        *text = *scratch;
        *scratch = t;
        *origin = o.new;
    }
    return MOEQ_OK;
}
