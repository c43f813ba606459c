/*
 * gguf_vocab_pre.c: the name that a GGUF file has for a tokenizer's pre-tokenizer.
 *
 * First by how it is written: a row of mq_gguf_pres with the same expressions. Where none is
 * written so, by what it does: a row under which the same ids come of the probes below and of every
 * piece of the vocabulary. (llama.cpp's converter goes by ids, too: by a hash of those of one
 * text.)
 *
 * A name also says whether a word that is a piece is taken as that piece (ignore_merges). Where
 * tokenizer.json says otherwise, the pieces show if it matters: a vocabulary all of whose pieces
 * are what merges make of them gives the same ids either way.
 */
#include "gguf_vocab_int.h"

#include "byte_level.h"
#include "error.h"
#include "gguf_pre.h"
#include "text_match.h"
#include "tokenizer.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

/* ---- how it is written ---- */

struct splitting {
    const char *splits[MQ_GGUF_PRE_SPLITS]; /* as in struct mq_gguf_rule */
    size_t count;
    bool bytes, prefix; /* ByteLevel has come; with a space in front */
    bool matches_only;  /* what is between an expression's matches is dropped */
    bool other;         /* it has what rules cannot say */
};

static void add_split(struct splitting *s, const char *regex)
{
    s->other |= s->bytes || s->count == MQ_GGUF_PRE_SPLITS;
    if (!s->other)
        s->splits[s->count++] = regex;
}

/* A Split that makes words of all matches and of what is between them. */
static void read_split(const cJSON *json, struct splitting *s)
{
    const cJSON *behavior = mq_json_get(json, "behavior");
    const cJSON *regex = mq_json_get(mq_json_get(json, "pattern"), "Regex");
    const char *name = cJSON_IsString(behavior) ? behavior->valuestring : "";
    const bool invert = cJSON_IsTrue(mq_json_get(json, "invert"));
    if (!cJSON_IsString(regex) || strcmp(name, invert ? "Removed" : "Isolated") != 0) {
        s->other = true;
        return;
    }
    s->matches_only |= invert;
    add_split(s, regex->valuestring);
}

static moeq_status read_pre_tokenizer(struct mq_vocab *v, const cJSON *json, const char *type,
                                      void *user)
{
    struct splitting *s = user;
    if (strcmp(type, "Split") == 0) {
        read_split(json, s);
    } else if (strcmp(type, "Digits") == 0) {
        add_split(s, cJSON_IsTrue(mq_json_get(json, "individual_digits")) ? "\\p{N}" : "\\p{N}+");
    } else if (strcmp(type, "ByteLevel") == 0) {
        s->other |= s->bytes;
        if (!cJSON_IsFalse(mq_json_get(json, "use_regex")))
            add_split(s, MQ_BYTE_LEVEL_REGEX);
        s->bytes = true;
        s->prefix = cJSON_IsTrue(mq_json_get(json, "add_prefix_space"));
        v->space_prefix |= s->prefix;
        if (s->prefix)
            mq_vocab_warn(v, "it puts no space in front of a text");
    } else {
        s->other = true;
    }
    return MOEQ_OK;
}

/* An expression that matches any text drops nothing: so do all that stand alone in a rule and end
 * in white space of any length. */
static bool covers_all(const struct mq_gguf_rule *rule)
{
    return !rule->splits[1] && mq_ends_with(rule->splits[0], "|\\s+");
}

static bool written_so(const struct splitting *s, const struct mq_gguf_rule *rule)
{
    if (s->other || (s->matches_only && !covers_all(rule)))
        return false;
    for (size_t i = 0; i < s->count; i++)
        if (!rule->splits[i] || !mq_gguf_same_regex(rule->splits[i], s->splits[i]))
            return false;
    return !rule->splits[s->count];
}

/* ---- what it does ---- */

static const char *const probes[] = {
    "Hello, world! It's 3 o'clock; they'll say I'VE won, we'd hope.",
    "In 1984, 12345678 of 1,234,567.89 (0.5 %) -- x2y33z444 10am 3rd",
    "def f(a, b=[1,2]):\n    return {'k': a**2 != b}  # note\n\n\n\tif x:\r\n\t\tpass\r\n",
    "   leading,  double   triple\t\ttabs \n \n  \n and trailing   ",
    "camelCase HTTPServer snake_case kebab-case ALLCAPS iPhone UPPERlower McX",
    "https://example.org/a/b?c=d&e=%20#f <a href=\"x\">y</a> $x^2+y_i$ a|b `c` ~d @e",
    "Gr\u00fc\u00dfe, d\u00e9j\u00e0 vu, \u00c9COLE \u00e9t\u00e9; "
    "\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 "
    "\u043c\u0438\u0440, \u041c\u0418\u0420 \u0414\u0430 123\u0448\u0442",
    "\u4eca\u65e5\u306f\u5929\u6c17\u304c\u3044\u3044\u3002\u30ab\u30bf\u30ab\u30ca\uff0c\u6c49"
    "\u5b57 12 "
    "\uff11\uff12\uff13 \uc548\ub155 \ud558\uc138\uc694!",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643 \u0661\u0662\u0663\u060c "
    "\u0928\u092e\u0938\u094d\u0924\u0947 "
    "\u0967\u0968\u0969\u0964 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u05e9\u05dc\u05d5\u05dd",
    "\U0001f642\U0001f469\u200d\U0001f680\U0001f1e9\U0001f1ea \u2211 x\u00b2 \u2264 \u221e "
    "\u201cso\u201d "
    "\u2018they\u2019 say\u2026 \u00bd \u2163 e\u0301x \u00a0 \u3000z",
    "...!!! ?! --- === /// *** \"'\" ()[]{} .\n.\n ,\n\n;\r\n'S 'T 'LL 's't 'x it\u2019s",
    "1 12 123 1234 12345 123456 1234567 a1 a12 a123 a1234 1a 12a 1.5.6 1-2",
    "\n",
    " ",
    "  ",
    "\t",
    " \n",
    "\n ",
    "a\n",
    "a ",
    "a  b",
    " a",
    "  a",
    "\r\n\r\n",
    "a   \n",
};
enum { PROBES = sizeof probes / sizeof *probes };

/* Texts, and the ids of each. */
struct sample {
    struct mq_buffer text;
    size_t *ends, count;
};

struct encoded {
    struct mq_ids ids;
    size_t *ends;
};

static bool add_text(struct sample *s)
{
    s->ends[s->count++] = s->text.size;
    return mq_buffer_ok(&s->text);
}

/* The probes, then the text of each piece. Pieces of bytes that are no text come of no word. */
static moeq_status fill_sample(struct mq_vocab *v, struct sample *s)
{
    const cJSON *vocab = mq_json_get(v->model, "vocab");
    const size_t most = PROBES + (size_t)cJSON_GetArraySize(vocab);
    bool ok = (s->ends = malloc(most * sizeof *s->ends)) != NULL;
    for (size_t i = 0; i < PROBES && ok; i++) {
        mq_buffer_puts(&s->text, probes[i]);
        ok = add_text(s);
    }
    for (const cJSON *piece = vocab->child; piece && ok; piece = piece->next) {
        const size_t start = s->text.size;
        mq_byte_level_decode(piece->string, strlen(piece->string), &s->text);
        ok = mq_buffer_ok(&s->text);
        if (!ok || !mq_utf8_valid(s->text.data + start, s->text.size - start, NULL))
            s->text.size = start;
        else
            ok = add_text(s);
    }
    return ok ? MOEQ_OK : mq_fail_memory(v->err, "comparing pre-tokenizers");
}

static moeq_status encode(struct mq_vocab *v, const struct mq_tokenizer *t, const struct sample *s,
                          size_t count, struct encoded *e)
{
    if (!e->ends && !(e->ends = malloc(s->count * sizeof *e->ends)))
        return mq_fail_memory(v->err, "comparing pre-tokenizers");
    return mq_tokenizer_encode_each(t, s->text.data, s->ends, count, &e->ids, e->ends, v->err);
}

static void encoded_free(struct encoded *e)
{
    mq_ids_free(&e->ids);
    free(e->ends);
}

/* How many of the texts have other ids, and the first of them. */
static size_t differences(const struct encoded *a, const struct encoded *b, size_t count,
                          size_t *first)
{
    size_t differing = 0, from_a = 0, from_b = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t n = a->ends[i] - from_a;
        if (b->ends[i] - from_b != n ||
            (n && memcmp(a->ids.data + from_a, b->ids.data + from_b, n * sizeof(int32_t)) != 0)) {
            if (!differing++)
                *first = i;
        }
        from_a = a->ends[i];
        from_b = b->ends[i];
    }
    return differing;
}

/* A tokenizer as it is and one to try rows on. */
struct trial {
    struct mq_tokenizer *own, *other;
    struct sample sample;
    struct encoded expected, found;
    bool prefix;
};

static moeq_status trial_open(struct mq_vocab *v, struct trial *t, bool prefix)
{
    t->prefix = prefix;
    MQ_TRY(mq_tokenizer_load(v->text->data, v->text->size, v->path, &t->own, v->err));
    MQ_TRY(mq_tokenizer_load(v->text->data, v->text->size, v->path, &t->other, v->err));
    MQ_TRY(fill_sample(v, &t->sample));
    return encode(v, t->own, &t->sample, t->sample.count, &t->expected);
}

static void trial_close(struct trial *t)
{
    mq_tokenizer_free(t->own);
    mq_tokenizer_free(t->other);
    mq_buffer_free(&t->sample.text);
    free(t->sample.ends);
    encoded_free(&t->expected);
    encoded_free(&t->found);
}

/* How many of the sample's texts have other ids under a row; where a probe has, only the probes
 * are tried. */
static moeq_status try_row(struct mq_vocab *v, struct trial *t, const struct mq_gguf_pre *pre,
                           size_t *differing, size_t *first)
{
    struct mq_buffer json = {0};
    moeq_status status = MOEQ_OK;
    mq_gguf_put_rule(&json, pre->rule, t->prefix);
    if (!mq_buffer_ok(&json))
        status = mq_fail_memory(v->err, "comparing pre-tokenizers");
    else
        status = mq_tokenizer_replace_pre(t->other, json.data, json.size, pre->ignore_merges,
                                          v->path, v->err);
    const size_t counts[] = {PROBES, t->sample.count};
    *differing = 0;
    for (size_t i = 0; i < 2 && status == MOEQ_OK && !*differing; i++) {
        status = encode(v, t->other, &t->sample, counts[i], &t->found);
        if (status == MOEQ_OK)
            *differing = differences(&t->expected, &t->found, counts[i], first);
    }
    mq_buffer_free(&json);
    return status;
}

/* ---- which row ---- */

/* A text of the sample for a message: in quotes, cut at a character. */
static void put_text(struct mq_buffer *out, const struct sample *s, size_t i)
{
    enum { SHOWN = 40 };
    const size_t start = i ? s->ends[i - 1] : 0;
    const char *text = s->text.data + start;
    mq_buffer_put_json(out, text, mq_utf8_cut(text, s->ends[i] - start, SHOWN));
}

/* The rule is known and its first row says otherwise on ignore_merges. `exact`: the first row that
 * says the same; NULL: there is none. */
static moeq_status choose_by_merges(struct mq_vocab *v, bool prefix,
                                    const struct mq_gguf_pre *exact, const struct mq_gguf_pre **pre)
{
    struct trial t = {0};
    struct mq_buffer example = {0};
    moeq_status status;
    size_t differing, first = 0;
    const bool sets = (*pre)->ignore_merges;
    MQ_TRY_OUT(trial_open(v, &t, prefix));
    MQ_TRY_OUT(try_row(v, &t, *pre, &differing, &first));
    if (!differing)
        goto out;
    put_text(&example, &t.sample, first);
    if (!mq_buffer_ok(&example)) {
        status = mq_fail_memory(v->err, "comparing pre-tokenizers");
        goto out;
    }
    if (exact) {
        mq_vocab_note(v,
                      "tokenizer.json %s ignore_merges, and '%s' in a GGUF file %s it, so that "
                      "other ids would come of %zu texts such as %s: written as '%s', the same "
                      "pattern %s it.",
                      sets ? "does not set" : "sets", (*pre)->name, sets ? "sets" : "does not set",
                      differing, example.data, exact->name, sets ? "without" : "with");
        *pre = exact;
    } else {
        mq_vocab_warn(v,
                      "its '%s' %s ignore_merges, tokenizer.json %s: other ids come of %zu texts "
                      "such as %s",
                      (*pre)->name, sets ? "sets" : "does not set", sets ? "does not" : "does",
                      differing, example.data);
    }
out:
    mq_buffer_free(&example);
    trial_close(&t);
    return status;
}

/* How many of the pre-tokenizer's expressions are the rule's, too: of rows under which all ids are
 * the same, the one that is written most alike is meant. */
static size_t likeness(const struct splitting *s, const struct mq_gguf_rule *rule)
{
    size_t alike = 0;
    for (size_t i = 0; i < s->count; i++)
        for (const char *const *split = rule->splits; *split; split++)
            alike += mq_gguf_same_regex(*split, s->splits[i]);
    return alike;
}

/* A row and what became of trying it. */
struct result {
    const struct mq_gguf_pre *pre;
    size_t alike, differing, first;
};

static bool is_better(const struct result *a, const struct result *b)
{
    if (!b->pre || !a->differing != !b->differing)
        return !b->pre || !a->differing;
    return a->alike != b->alike ? a->alike > b->alike : a->differing < b->differing;
}

/* Says which pre-tokenizer has no name, shortened at a character, and what comes nearest. */
static moeq_status fail_unknown(struct mq_vocab *v, const struct sample *sample,
                                const struct result *nearest)
{
    enum { SHOWN = 300 };
    struct mq_buffer example = {0};
    char *text = cJSON_PrintUnformatted(v->pre_tokenizer);
    const size_t n = text ? strlen(text) : 0, shown = text ? mq_utf8_cut(text, n, SHOWN) : 0;
    put_text(&example, sample, nearest->first);
    const moeq_status status =
        text && mq_buffer_ok(&example)
            ? mq_fail_file(v->err, MOEQ_UNSUPPORTED, v->path,
                           "GGUF has no name for the pre-tokenizer %.*s%s: none of llama.cpp's "
                           "gives the same ids; the nearest, '%s', gives others for %zu of %zu "
                           "texts, such as %s. (A moeq file keeps the tokenizer as it is.)",
                           (int)shown, text, shown < n ? "..." : "", nearest->pre->name,
                           nearest->differing,
                           nearest->first < PROBES ? (size_t)PROBES : sample->count, example.data)
            : mq_fail_memory(v->err, "exporting the vocabulary");
    cJSON_free(text);
    mq_buffer_free(&example);
    return status;
}

/* No row is written so: looks for one that does the same. */
static moeq_status choose_by_ids(struct mq_vocab *v, const struct splitting *s,
                                 const struct mq_gguf_pre **pre)
{
    struct trial t = {0};
    struct result best = {0};
    moeq_status status;
    MQ_TRY_OUT(trial_open(v, &t, s->prefix));
    for (size_t i = 0; i < mq_gguf_pres_count; i++) {
        const struct mq_gguf_pre *row = &mq_gguf_pres[i];
        if (!row->rule || (i && row->rule == row[-1].rule &&
                           row->ignore_merges == row[-1].ignore_merges)) /* has been tried */
            continue;
        struct result result = {.pre = row, .alike = likeness(s, row->rule)};
        MQ_TRY_OUT(try_row(v, &t, row, &result.differing, &result.first));
        if (is_better(&result, &best))
            best = result;
    }
    if (best.differing) {
        status = fail_unknown(v, &t.sample, &best);
        goto out;
    }
    *pre = best.pre;
    mq_vocab_note(v,
                  "No pre-tokenizer of llama.cpp's is written like tokenizer.json's; '%s' gives "
                  "the same ids for %zu probes and pieces of the vocabulary.",
                  best.pre->name, t.sample.count);
out:
    trial_close(&t);
    return status;
}

moeq_status mq_vocab_find_pre(struct mq_vocab *v, const struct mq_gguf_pre **pre)
{
    struct splitting s = {0};
    const bool ignore_merges = cJSON_IsTrue(mq_json_get(v->model, "ignore_merges"));
    const struct mq_gguf_pre *exact = NULL;
    *pre = NULL;
    MQ_TRY(mq_vocab_each(v, v->pre_tokenizer, "pretokenizers", "pre-tokenizer", &s,
                         read_pre_tokenizer));
    if (!s.bytes)
        return mq_vocab_unsupported(v, "model", "BPE with neither byte_fallback nor ByteLevel");
    for (size_t i = 0; i < mq_gguf_pres_count; i++) {
        const struct mq_gguf_pre *row = &mq_gguf_pres[i];
        if (!row->rule || !written_so(&s, row->rule))
            continue;
        if (!*pre)
            *pre = row;
        if (!exact && row->ignore_merges == ignore_merges)
            exact = row;
    }
    if (!*pre)
        MQ_TRY(choose_by_ids(v, &s, pre));
    else if (*pre != exact)
        MQ_TRY(choose_by_merges(v, s.prefix, exact, pre));
    if ((*pre)->rule->differs)
        mq_vocab_warn(v, "its pattern '%s' %s", (*pre)->name, (*pre)->rule->differs);
    return MOEQ_OK;
}
