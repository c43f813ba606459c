/*
 * sp_normalize.c: the normalizer of SentencePiece models, and Precompiled, what the `tokenizers`
 * library makes of its character map.
 *
 * sentencepiece (normalizer.cc): the text is read by the longest entries of the map, a character
 * without one stays, and user-defined symbols are left alone. With remove_extra_whitespaces spaces
 * at both ends go and runs of them become one. A space is put in front, or behind for models of
 * treat_whitespace_as_suffix, and all spaces become U+2581.
 *
 * `tokenizers` (normalizers/precompiled.rs and the crate spm_precompiled): a grapheme of less than
 * 6 bytes becomes what its shortest beginning in the map becomes, as a whole; characters of others
 * are looked up one by one.
 */
#include "normalize_int.h"

#include "charsmap.h"
#include "error.h"
#include "scored.h"
#include "utf8.h"

#include <utf8proc.h>

#include <string.h>

moeq_status mq_normalizer_fail_limit(size_t limit, moeq_error *err)
{
    return mq_fail(err, MOEQ_LIMIT,
                   "the tokenizer's normalizer makes more than %zu bytes of text, many times what "
                   "it is given; check \"normalizer\" in tokenizer.json",
                   limit);
}

moeq_status mq_sp_normalizer_load(struct mq_load *load, const cJSON *json,
                                  struct mq_normalizer_step *step)
{
    static const char what[] = "normalizer SentencePiece";
    struct mq_sp_normalizer *sp = &step->sp;
    const struct {
        const char *key;
        int fallback;
        bool *flag;
    } flags[] = {
        {"add_dummy_prefix", 1, &sp->prefix},
        {"prefix_first", 0, &sp->prefix_first},
        {"treat_whitespace_as_suffix", 0, &sp->suffix},
        {"remove_extra_whitespaces", 1, &sp->remove_extra},
        {"escape_whitespaces", 1, &sp->escape},
    };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        MQ_TRY(mq_load_flag(load, json, flags[i].key, what, flags[i].fallback, flags[i].flag));
    return mq_charsmap_load(load, json, what, &step->charsmap);
}

/* ---- sentencepiece ---- */

/* What the text at its beginning becomes; returns how many bytes of it that takes. */
static size_t next_part(const struct mq_tokenizer *t, const struct mq_normalizer_step *step,
                        const char *text, size_t n, struct mq_text *part)
{
    uint32_t code;
    size_t taken = t->scored ? mq_piece_trie_longest(&t->scored->user, text, n) : 0;
    if (!taken && step->charsmap) {
        taken = mq_charsmap_longest(step->charsmap, text, n, part);
        if (taken)
            return taken;
    }
    if (!taken)
        taken = mq_utf8_next(text, &code);
    *part = (struct mq_text){text, taken};
    return taken;
}

static void put_space(const struct mq_sp_normalizer *sp, struct mq_buffer *out)
{
    if (sp->escape)
        mq_buffer_append(out, MQ_VISIBLE_SPACE, 3);
    else
        mq_buffer_putc(out, ' ');
}

static void put_part(const struct mq_sp_normalizer *sp, const struct mq_text *part,
                     struct mq_buffer *out)
{
    for (size_t i = 0; i < part->size; i++) {
        if (part->data[i] == ' ')
            put_space(sp, out);
        else
            mq_buffer_putc(out, part->data[i]);
    }
}

/* Removes spaces at the end; a U+2581 of the text counts as one. */
static void strip_end(const struct mq_sp_normalizer *sp, struct mq_buffer *out)
{
    const char *space = sp->escape ? MQ_VISIBLE_SPACE : " ";
    const size_t n = strlen(space);
    while (out->size >= n && memcmp(out->data + out->size - n, space, n) == 0)
        out->size -= n;
    if (out->data)
        out->data[out->size] = '\0';
}

moeq_status mq_sp_normalize(const struct mq_tokenizer *t, const struct mq_normalizer_step *step,
                            bool at_start, const struct mq_buffer *text, size_t limit,
                            struct mq_buffer *out, moeq_error *err)
{
    const struct mq_sp_normalizer *sp = &step->sp;
    const bool prefix = sp->prefix && (at_start || !sp->prefix_first);
    struct mq_text part;
    size_t at = 0, taken;
    while (sp->remove_extra && at < text->size) {
        taken = next_part(t, step, text->data + at, text->size - at, &part);
        if (part.size != 1 || *part.data != ' ')
            break;
        at += taken;
    }
    if (at == text->size)
        return MOEQ_OK;
    if (prefix && !sp->suffix)
        put_space(sp, out);
    bool after_space = sp->remove_extra;
    for (; at < text->size; at += taken) {
        taken = next_part(t, step, text->data + at, text->size - at, &part);
        while (after_space && part.size && *part.data == ' ')
            part = (struct mq_text){part.data + 1, part.size - 1};
        put_part(sp, &part, out);
        if (part.size)
            after_space = sp->remove_extra && part.data[part.size - 1] == ' ';
        if (out->size > limit)
            return mq_normalizer_fail_limit(limit, err);
    }
    if (sp->remove_extra)
        strip_end(sp, out);
    if (prefix && sp->suffix)
        put_space(sp, out);
    return MOEQ_OK;
}

/* ---- `tokenizers` ---- */

enum { MAX_LOOKED_UP = 5 }; /* bytes of a grapheme that is looked up as one */

/* The length of the grapheme that the text begins with. */
static size_t grapheme_size(const char *text, size_t n)
{
    uint32_t code, next;
    utf8proc_int32_t state = 0;
    size_t at = mq_utf8_next(text, &code);
    while (at < n) {
        const size_t length = mq_utf8_next(text + at, &next);
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)code, (utf8proc_int32_t)next,
                                             &state))
            break;
        at += length;
        code = next;
    }
    return at;
}

moeq_status mq_precompiled_normalize(const struct mq_normalizer_step *step,
                                     const struct mq_buffer *text, size_t limit,
                                     struct mq_buffer *out, moeq_error *err)
{
    const struct mq_charsmap *map = step->charsmap;
    for (size_t at = 0, size; at < text->size; at += size) {
        const char *grapheme = text->data + at;
        struct mq_text found;
        uint32_t code;
        size = grapheme_size(grapheme, text->size - at);
        if (map && size <= MAX_LOOKED_UP && mq_charsmap_shortest(map, grapheme, size, &found)) {
            mq_buffer_append(out, found.data, found.size);
        } else {
            for (size_t i = 0, length; i < size; i += length) {
                length = mq_utf8_next(grapheme + i, &code);
                if (map && mq_charsmap_shortest(map, grapheme + i, length, &found))
                    mq_buffer_append(out, found.data, found.size);
                else
                    mq_buffer_append(out, grapheme + i, length);
            }
        }
        if (out->size > limit)
            return mq_normalizer_fail_limit(limit, err);
    }
    return MOEQ_OK;
}
