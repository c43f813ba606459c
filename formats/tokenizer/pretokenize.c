/*
 * pretokenize.c: how text becomes words.
 *
 * Each pre-tokenizer is one or a few elementary steps, which turn one list of pieces into another:
 *
 *   Split               a Split on its expression or text
 *   Punctuation         a Split on the characters of punctuation.c
 *   Digits              a Split on \p{N}
 *   Whitespace          a Split on \w+|[^\w\s]+ that keeps the matches only
 *   WhitespaceSplit     a Split on \s that keeps them not
 *   CharDelimiterSplit  the same on its character
 *   Metaspace           a rewriting and, with `split`, a Split on its character
 *   ByteLevel           a space in front, a Split on GPT-2's pattern, and the change of bytes into
 *                       its alphabet, each if asked for
 */
#include "tokenizer_int.h"

#include "byte_level.h"
#include "error.h"
#include "utf8.h"

#include <string.h>

/* Whitespace's. Its \w is that of the Rust regex crate, see is_word in added_tokens.c. */
#define RUST_WORD                                                            \
    "\\p{L}\\p{M}\\p{Nl}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}" \
    "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
static const char whitespace_regex[] = "[" RUST_WORD "]+|[^" RUST_WORD "\\s]+";

/* Takes over the step's pattern, also on failure. */
static moeq_status add_step(struct mq_load *load, const struct mq_pretokenizer_step *step)
{
    struct mq_tokenizer *t = load->tokenizer;
    if (t->pretokenizer_count == MQ_MAX_STEPS) {
        mq_pattern_free(step->pattern);
        return mq_load_malformed(load, "pre-tokenizer", "too many steps");
    }
    t->pretokenizers[t->pretokenizer_count++] = *step;
    return MOEQ_OK;
}

static moeq_status add_regex_split(struct mq_load *load, const char *regex,
                                   enum mq_split_behavior behavior, bool invert)
{
    struct mq_pretokenizer_step step = {
        .kind = MQ_PRE_SPLIT, .behavior = behavior, .invert = invert};
    MQ_TRY(mq_pattern_regex(regex, strlen(regex), load->path, &step.pattern, load->err));
    return add_step(load, &step);
}

static moeq_status add_literal_split(struct mq_load *load, const struct mq_text *text,
                                     enum mq_split_behavior behavior, bool invert)
{
    struct mq_pretokenizer_step step = {
        .kind = MQ_PRE_SPLIT, .behavior = behavior, .invert = invert};
    MQ_TRY(mq_pattern_literal(text->data, text->size, &step.pattern, load->err));
    return add_step(load, &step);
}

static moeq_status read_behavior(struct mq_load *load, const cJSON *name, const char *what,
                                 enum mq_split_behavior *behavior)
{
    static const char *const names[] = {
        [MQ_SPLIT_REMOVED] = "Removed",
        [MQ_SPLIT_ISOLATED] = "Isolated",
        [MQ_SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
        [MQ_SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
        [MQ_SPLIT_CONTIGUOUS] = "Contiguous",
    };
    if (!cJSON_IsString(name))
        return mq_load_malformed(load, what, "'behavior' is missing or no text");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *behavior = (enum mq_split_behavior)i;
        if (strcmp(name->valuestring, names[i]) == 0)
            return MOEQ_OK;
    }
    return mq_fail_file(load->err, MOEQ_UNSUPPORTED, load->path,
                        "%s: behavior '%.200s' is not supported", what, name->valuestring);
}

static moeq_status load_split(struct mq_load *load, const cJSON *json)
{
    static const char what[] = "pre-tokenizer Split";
    const cJSON *pattern = mq_json_get(json, "pattern");
    enum mq_split_behavior behavior;
    bool invert;
    MQ_TRY(read_behavior(load, mq_json_get(json, "behavior"), what, &behavior));
    MQ_TRY(mq_load_flag(load, json, "invert", what, -1, &invert));
    const cJSON *regex = mq_json_get(pattern, "Regex");
    if (cJSON_IsString(regex))
        return add_regex_split(load, regex->valuestring, behavior, invert);
    struct mq_text text;
    MQ_TRY(mq_load_text(load, pattern, "String", what, &text));
    /* `tokenizers` makes an expression of it, which being empty matches between all characters. */
    return text.size ? add_literal_split(load, &text, behavior, invert)
                     : add_regex_split(load, "", behavior, invert);
}

static moeq_status load_punctuation(struct mq_load *load, const cJSON *json)
{
    struct mq_pretokenizer_step step = {.kind = MQ_PRE_SPLIT, .behavior = MQ_SPLIT_ISOLATED};
    const cJSON *behavior = mq_json_get(json, "behavior");
    if (behavior) /* files of 2021 and before have none */
        MQ_TRY(read_behavior(load, behavior, "pre-tokenizer Punctuation", &step.behavior));
    MQ_TRY(mq_pattern_chars(mq_punctuation, mq_punctuation_count, &step.pattern, load->err));
    return add_step(load, &step);
}

static moeq_status load_digits(struct mq_load *load, const cJSON *json)
{
    bool each;
    MQ_TRY(mq_load_flag(load, json, "individual_digits", "pre-tokenizer Digits", -1, &each));
    return add_regex_split(load, "\\p{N}", each ? MQ_SPLIT_ISOLATED : MQ_SPLIT_CONTIGUOUS, false);
}

static moeq_status load_whitespace(struct mq_load *load, const cJSON *json)
{
    (void)json;
    return add_regex_split(load, whitespace_regex, MQ_SPLIT_REMOVED, true);
}

static moeq_status load_whitespace_split(struct mq_load *load, const cJSON *json)
{
    (void)json;
    return add_regex_split(load, "\\s", MQ_SPLIT_REMOVED, false);
}

/* Reads a text that must be one character. */
static moeq_status read_character(struct mq_load *load, const cJSON *json, const char *key,
                                  const char *what, struct mq_text *text)
{
    uint32_t code;
    MQ_TRY(mq_load_text(load, json, key, what, text));
    if (text->size && mq_utf8_next(text->data, &code) == text->size)
        return MOEQ_OK;
    return mq_fail_file(load->err, MOEQ_MALFORMED, load->path, "%s: '%s' is not one character",
                        what, key);
}

static moeq_status load_delimiter(struct mq_load *load, const cJSON *json)
{
    struct mq_text text;
    MQ_TRY(read_character(load, json, "delimiter", "pre-tokenizer CharDelimiterSplit", &text));
    return add_literal_split(load, &text, MQ_SPLIT_REMOVED, false);
}

static moeq_status load_metaspace(struct mq_load *load, const cJSON *json)
{
    static const char what[] = "pre-tokenizer Metaspace";
    struct mq_pretokenizer_step step = {.kind = MQ_PRE_METASPACE, .scheme = MQ_PREPEND_ALWAYS};
    MQ_TRY(read_character(load, json, "replacement", what, &step.replacement));
    const cJSON *scheme = mq_json_get(json, "prepend_scheme");
    if (scheme) {
        const char *name = cJSON_IsString(scheme) ? scheme->valuestring : "";
        if (strcmp(name, "first") == 0)
            step.scheme = MQ_PREPEND_FIRST;
        else if (strcmp(name, "never") == 0)
            step.scheme = MQ_PREPEND_NEVER;
        else if (strcmp(name, "always") != 0)
            return mq_load_unsupported(load, "pre-tokenizer Metaspace: prepend_scheme", name);
    }
    /* add_prefix_space is prepend_scheme's predecessor. */
    bool prefix, split;
    MQ_TRY(mq_load_flag(load, json, "add_prefix_space", what, 1, &prefix));
    if (!prefix && step.scheme != MQ_PREPEND_NEVER)
        return mq_load_malformed(load, what, "add_prefix_space contradicts prepend_scheme");
    MQ_TRY(mq_load_flag(load, json, "split", what, 1, &split));
    MQ_TRY(add_step(load, &step));
    return split ? add_literal_split(load, &step.replacement, MQ_SPLIT_MERGED_WITH_NEXT, false)
                 : MOEQ_OK;
}

static moeq_status load_byte_level(struct mq_load *load, const cJSON *json)
{
    static const char what[] = "pre-tokenizer ByteLevel";
    bool prefix, regex;
    MQ_TRY(mq_load_flag(load, json, "add_prefix_space", what, -1, &prefix));
    MQ_TRY(mq_load_flag(load, json, "use_regex", what, 1, &regex));
    if (prefix)
        MQ_TRY(add_step(load, &(struct mq_pretokenizer_step){.kind = MQ_PRE_PREFIX_SPACE}));
    if (regex)
        MQ_TRY(add_regex_split(load, MQ_BYTE_LEVEL_REGEX, MQ_SPLIT_ISOLATED, false));
    return add_step(load, &(struct mq_pretokenizer_step){.kind = MQ_PRE_BYTES});
}

static const struct {
    const char *type;
    moeq_status (*load)(struct mq_load *load, const cJSON *json);
} types[] = {
    {"Split", load_split},
    {"ByteLevel", load_byte_level},
    {"Metaspace", load_metaspace},
    {"Digits", load_digits},
    {"Punctuation", load_punctuation},
    {"Whitespace", load_whitespace},
    {"WhitespaceSplit", load_whitespace_split},
    {"CharDelimiterSplit", load_delimiter},
};

static moeq_status load_step(struct mq_load *load, const cJSON *json, const char *type)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(type, types[i].type) == 0)
            return types[i].load(load, json);
    return mq_load_unsupported(load, "pre-tokenizer", type);
}

moeq_status mq_pretokenizer_load(struct mq_load *load, const cJSON *json)
{
    return mq_load_sequence(load, json, "pretokenizers", "pre-tokenizer", load_step);
}

void mq_pretokenizer_free(struct mq_tokenizer *tokenizer)
{
    for (size_t i = 0; i < tokenizer->pretokenizer_count; i++)
        mq_pattern_free(tokenizer->pretokenizers[i].pattern);
}

/*
 * One piece being split. Of "a-b" split at "-" the behaviors make
 *
 *     Removed             [a][b]
 *     Isolated            [a][-][b]
 *     Contiguous          the same, with neighbouring matches joined
 *     MergedWithPrevious  [a-][b]
 *     MergedWithNext      [a][-b]
 *
 * In a run of matches only the outer one merges: "a--b" gives [a-][-][b] and [a][-][-b]. With
 * `invert` the roles are exchanged.
 *
 * Matches and the stretches between them come in order through split_item, which needs to hold
 * back one of them to join it with the next.
 */
struct splitter {
    struct mq_pieces *out;
    enum mq_split_behavior behavior;
    bool invert;
    struct mq_span held; /* the last item, not yet final */
    bool holding, held_match;
};

static void flush(struct splitter *s)
{
    if (s->holding && s->held.start < s->held.end) /* empty pieces vanish */
        mq_pieces_add(s->out, s->held.start, s->held.end);
    s->holding = false;
}

static void split_item(struct splitter *s, size_t start, size_t end, bool match)
{
    match ^= s->invert;
    bool join = false;
    switch (s->behavior) {
    case MQ_SPLIT_REMOVED:
        flush(s);
        if (match)
            return;
        break;
    case MQ_SPLIT_ISOLATED:
        break;
    case MQ_SPLIT_MERGED_WITH_PREVIOUS:
        join = match && !s->held_match;
        break;
    case MQ_SPLIT_MERGED_WITH_NEXT:
        join = !match && s->held_match;
        break;
    case MQ_SPLIT_CONTIGUOUS:
        join = match == s->held_match;
        break;
    }
    if (s->holding && join) {
        s->held.end = end;
    } else {
        flush(s);
        s->held = (struct mq_span){start, end};
        s->holding = true;
    }
    s->held_match = match;
}

/* Splits one piece of `text`. The piece is a text of its own: patterns do not look beyond it. */
static moeq_status split_piece(const struct mq_pretokenizer_step *step, struct mq_matcher *matcher,
                               const char *text, struct mq_span piece, struct mq_pieces *out,
                               moeq_error *err)
{
    struct splitter s = {.out = out, .behavior = step->behavior, .invert = step->invert};
    const char *t = text + piece.start;
    const size_t n = piece.end - piece.start;
    size_t done = 0, from = 0;
    bool any = false; /* a match ends at `done` */
    for (;;) {
        struct mq_span match;
        bool found;
        MQ_TRY(mq_pattern_find(step->pattern, matcher, t, n, from, &match, &found, err));
        if (!found)
            break;
        if (match.start == match.end && any && match.end == done) {
            /* Oniguruma's iterator skips an empty match right behind the last one. */
            if (from >= n)
                break;
            uint32_t code;
            from += mq_utf8_next(t + from, &code);
            continue;
        }
        if (done != match.start)
            split_item(&s, piece.start + done, piece.start + match.start, false);
        split_item(&s, piece.start + match.start, piece.start + match.end, true);
        done = from = match.end;
        any = true;
    }
    if (done != n)
        split_item(&s, piece.start + done, piece.end, false);
    flush(&s);
    return MOEQ_OK;
}

static bool starts_with(const char *text, size_t n, const char *prefix, size_t prefix_size)
{
    return n >= prefix_size && memcmp(text, prefix, prefix_size) == 0;
}

/* Spaces become the replacement, which also is prepended where there is none. */
static void metaspace_piece(const struct mq_pretokenizer_step *step, const char *text, size_t n,
                            bool first, struct mq_buffer *out)
{
    const struct mq_text space = {" ", 1}, *replacement = &step->replacement;
    const bool has_it =
        starts_with(text, n, " ", 1) || starts_with(text, n, replacement->data, replacement->size);
    if (!has_it &&
        (step->scheme == MQ_PREPEND_ALWAYS || (step->scheme == MQ_PREPEND_FIRST && first)))
        mq_buffer_append(out, replacement->data, replacement->size);
    mq_replace_text(text, n, &space, replacement, out);
}

/* Writes the step's pieces of `in` to `out`. *origin: see mq_normalize. */
static moeq_status apply_step(const struct mq_pretokenizer_step *step, struct mq_matcher *matcher,
                              size_t *origin, const struct mq_pieces *in, struct mq_pieces *out,
                              moeq_error *err)
{
    const char *text = in->text.data;
    if (step->kind == MQ_PRE_SPLIT) {
        for (size_t i = 0; i < in->count; i++)
            MQ_TRY(split_piece(step, matcher, text, in->spans[i], out, err));
        return MOEQ_OK;
    }
    size_t new_origin = 0;
    for (size_t i = 0; i < in->count; i++) {
        const struct mq_span span = in->spans[i];
        const char *piece = text + span.start;
        const size_t n = span.end - span.start, start = out->text.size;
        const bool first = span.start < *origin;
        if (first)
            new_origin = start + 1;
        if (step->kind == MQ_PRE_METASPACE) {
            metaspace_piece(step, piece, n, first, &out->text);
        } else if (step->kind == MQ_PRE_PREFIX_SPACE) {
            if (!starts_with(piece, n, " ", 1))
                mq_buffer_putc(&out->text, ' ');
            mq_buffer_append(&out->text, piece, n);
        } else {
            mq_byte_level_encode(piece, n, &out->text);
        }
        mq_pieces_end(out, start);
    }
    *origin = new_origin;
    return MOEQ_OK;
}

moeq_status mq_pretokenize(const struct mq_tokenizer *tokenizer, struct mq_matcher *matcher,
                           size_t origin, struct mq_pieces *pieces, struct mq_pieces *scratch,
                           moeq_error *err)
{
    const size_t limit = mq_growth_limit(pieces->text.size);
    size_t work = 0; /* as in mq_normalize */
    for (size_t i = 0; i < tokenizer->pretokenizer_count; i++) {
        const struct mq_pretokenizer_step *step = &tokenizer->pretokenizers[i];
        mq_pieces_clear(scratch);
        mq_matcher_grant(matcher, pieces->text.size);
        MQ_TRY(apply_step(step, matcher, &origin, pieces, scratch, err));
        if (step->kind == MQ_PRE_SPLIT) {
            /* The text is the same: only the spans are new. */
            const struct mq_buffer text = scratch->text;
            scratch->text = pieces->text;
            pieces->text = text;
        }
        mq_pieces_swap(pieces, scratch);
        if (!mq_pieces_ok(pieces))
            return mq_fail_memory(err, "splitting text into words");
        work += step->kind == MQ_PRE_SPLIT ? 0 : pieces->text.size;
        if (pieces->text.size > limit || work / MQ_GROWTH_STEPS > limit)
            return mq_fail(err, MOEQ_LIMIT,
                           "step %zu of the tokenizer's pre-tokenizer makes more than %zu bytes of "
                           "text; check \"pre_tokenizer\" in tokenizer.json",
                           i + 1, limit);
    }
    return MOEQ_OK;
}
