/*
 * added_tokens.c: tokens that are found in the text before the model sees it.
 *
 * Of all matches the leftmost counts, of those the longest. A trie over the tokens' bytes finds it. Where tokens are
 * long and a text is all but full of them, walks from one position after the other would take as many steps a byte as
 * tokens are long: then the rest of the text is looked through from behind (longest_starts.h).
 */
#include "tokenizer_int.h"

#include "error.h"
#include "utf8.h"

#include <utf8proc.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * \w of the Rust regex crate: Alphabetic, M, Nd, Pc and Join_Control (Unicode UTS #18, annex C).
 * Alphabetic is L and Nl, marks (in M anyhow), and these enclosed letters of category So
 * (Other_Alphabetic in PropList.txt): U+24B6..24E9, U+1F130..1F149, 1F150..1F169, 1F170..1F189.
 */
static bool is_word(uint32_t c)
{
    if (c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
        (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
        (c >= 0x1f170 && c <= 0x1f189))
        return true;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return false;
    }
}

static moeq_status load_token(struct mq_load *load, const cJSON *json, struct mq_added_token *token)
{
    static const char what[] = "added token";
    MQ_TRY(mq_load_text(load, json, "content", what, &token->content));
    MQ_TRY(mq_load_flag(load, json, "single_word", what, -1, &token->single_word));
    MQ_TRY(mq_load_flag(load, json, "lstrip", what, -1, &token->lstrip));
    MQ_TRY(mq_load_flag(load, json, "rstrip", what, -1, &token->rstrip));
    MQ_TRY(mq_load_flag(load, json, "normalized", what, -1, &token->normalized));
    MQ_TRY(mq_load_flag(load, json, "special", what, -1, &token->special));
    return MOEQ_OK;
}

/* Says once, and counts, that a token has another id than the file says. */
static void note_id(struct mq_tokenizer *t, const struct mq_text *content, uint64_t said,
                    uint32_t given)
{
    if (!t->renumbered++)
        snprintf(t->note, sizeof t->note,
                 "added token '%.60s' has the id %u: it is numbered on behind the pieces in the "
                 "list's order, as the library `tokenizers` does, and the file says %llu",
                 content->data, given, (unsigned long long)said);
}

/*
 * Enters a token under the id that `tokenizers` gives it. A text that the model or an earlier token
 * has keeps its id; the others are numbered on behind the model's pieces, in the file's order. So
 * the file's ids count for nothing: it writes them in order, and of a list that was edited by hand
 * the models' users have the ids that `tokenizers` makes of it. What else stood under an id is
 * still encoded to it, and decoded as the token. Of two tokens with one text the later one counts.
 */
static moeq_status enter_token(struct mq_load *load, const cJSON *json,
                               struct mq_added_token *token, uint32_t *next_id)
{
    struct mq_tokenizer *t = load->tokenizer;
    const struct mq_text *content = &token->content;
    uint64_t said;
    uint32_t index = (uint32_t)t->added_count;
    if (!mq_json_u64(mq_json_get(json, "id"), &said))
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                            "added token '%.200s': the id is missing or no whole number",
                            content->data);
    switch (mq_strmap_add(&t->added_ids, content->data, content->size, index)) {
    case MQ_STRMAP_ADDED:
        if (!mq_strmap_get(&t->vocab, content->data, content->size, &token->id))
            token->id = (*next_id)++;
        t->added_count++;
        break;
    case MQ_STRMAP_DUPLICATE:
        mq_strmap_get(&t->added_ids, content->data, content->size, &index);
        token->id = t->added[index].id;
        token->was_special = t->added[index].special || t->added[index].was_special;
        token->was_normalized = t->added[index].normalized || t->added[index].was_normalized;
        break;
    case MQ_STRMAP_NO_MEMORY:
        return mq_fail_memory(load->err, "reading added tokens");
    }
    if (said != token->id)
        note_id(t, content, said, token->id);
    t->tokens[token->id].text = content->data;
    t->tokens[token->id].size = (uint32_t)content->size;
    t->added[index] = *token;
    return MOEQ_OK;
}

moeq_status mq_added_tokens_load(struct mq_load *load, const cJSON *json)
{
    struct mq_tokenizer *t = load->tokenizer;
    if (!json || cJSON_IsNull(json))
        return MOEQ_OK;
    if (!cJSON_IsArray(json))
        return mq_load_malformed(load, "added_tokens", "no list");
    const size_t count = (size_t)cJSON_GetArraySize(json);
    t->added = mq_arena_alloc(t->arena, count, sizeof *t->added);
    if (!t->added || !mq_strmap_init(&t->added_ids, count))
        return mq_fail_memory(load->err, "reading added tokens");
    uint32_t next_id = (uint32_t)t->vocab.count;
    for (const cJSON *item = json->child; item; item = item->next) {
        struct mq_added_token token = {0};
        MQ_TRY(load_token(load, item, &token));
        if (token.content.size) /* `tokenizers` ignores an empty one */
            MQ_TRY(enter_token(load, item, &token, &next_id));
    }
    return MOEQ_OK;
}

/* Adds a text to a trie. Of equal texts the first one stays. */
static bool trie_add(struct mq_trie *trie, const char *text, size_t n, uint32_t index)
{
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t byte = (unsigned char)text[i];
        const struct mq_pair_value *edge = mq_pair_map_get(&trie->edges, node, byte);
        struct mq_pair_value value = edge ? *edge : (struct mq_pair_value){++trie->nodes, 0};
        if (i + 1 == n && !value.second)
            value.second = index + 1;
        if (!mq_pair_map_set(&trie->edges, node, byte, value))
            return false;
        node = value.first;
    }
    if (n)
        trie->first[(unsigned char)text[0]] = true;
    trie->longest = n > trie->longest ? n : trie->longest;
    return true;
}

/* A trie is done: tokens that are so long need more than walks. */
static bool finish_trie(const struct mq_tokenizer *t, struct mq_trie *trie, bool normalized)
{
    enum { LONG = 32 };
    if (trie->longest <= LONG)
        return true;
    for (size_t i = 0; i < t->added_count; i++) {
        const struct mq_added_token *a = &t->added[i];
        const struct mq_token *token = &t->tokens[a->id]; /* in its normalized form */
        if (a->normalized == normalized &&
            !mq_longest_starts_add(&trie->starts, normalized ? token->text : a->content.data,
                                   normalized ? token->size : a->content.size))
            return false;
    }
    return mq_longest_starts_finish(&trie->starts);
}

/*
 * Builds both tries and decides what decoding leaves out. A token with `normalized` is looked for
 * in its normalized form, and is decoded to that form as well; `tokenizers` leaves a token out if
 * the text it decodes to is the content of some special token.
 */
moeq_status mq_added_tokens_build(struct mq_load *load)
{
    struct mq_tokenizer *t = load->tokenizer;
    struct mq_buffer text = {0}, scratch = {0};
    struct mq_strmap specials = {0};
    struct mq_matcher *matcher;
    moeq_status status = MOEQ_OK;
    bool ok = true;
    MQ_TRY(mq_matcher_create(&matcher, load->err));
    for (size_t i = 0; i < t->added_count && ok; i++) {
        size_t origin;
        const struct mq_added_token *token = &t->added[i];
        if (token->special || token->was_special)
            ok = mq_strmap_add(&specials, token->content.data, token->content.size, 0) !=
                 MQ_STRMAP_NO_MEMORY;
        if (!token->normalized)
            ok = ok && trie_add(&t->raw, token->content.data, token->content.size, (uint32_t)i);
        if (!token->normalized && !token->was_normalized)
            continue;
        mq_buffer_clear(&text);
        mq_buffer_append(&text, token->content.data, token->content.size);
        MQ_TRY_OUT(mq_normalize(t, matcher, true, &text, &scratch, &origin, load->err));
        char *copy = mq_arena_strndup(t->arena, text.data ? text.data : "", text.size);
        ok = ok && copy;
        if (token->normalized)
            ok = ok && trie_add(&t->normalized, copy, text.size, (uint32_t)i);
        if (ok) {
            t->tokens[token->id].text = copy;
            t->tokens[token->id].size = (uint32_t)text.size;
        }
    }
    ok = ok && finish_trie(t, &t->raw, false) && finish_trie(t, &t->normalized, true);
    for (size_t i = 0; i < t->vocab_size && ok && specials.count; i++) {
        struct mq_token *token = &t->tokens[i];
        uint32_t unused;
        token->skip = token->text && mq_strmap_get(&specials, token->text, token->size, &unused);
    }
    if (!ok)
        status = mq_fail_memory(load->err, "reading added tokens");
out:
    mq_matcher_free(matcher);
    mq_strmap_free(&specials);
    mq_buffer_free(&text);
    mq_buffer_free(&scratch);
    return status;
}

void mq_added_tokens_free(struct mq_tokenizer *tokenizer)
{
    mq_strmap_free(&tokenizer->added_ids);
    mq_pair_map_free(&tokenizer->raw.edges);
    mq_pair_map_free(&tokenizer->normalized.edges);
    mq_longest_starts_free(&tokenizer->raw.starts);
    mq_longest_starts_free(&tokenizer->normalized.starts);
}

/* The longest token at `text`: its length and index; 0 if there is none. */
static size_t longest_match(const struct mq_trie *trie, const char *text, size_t n, uint32_t *index,
                            size_t *steps)
{
    size_t length = 0;
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++, ++*steps) {
        const struct mq_pair_value *edge =
            mq_pair_map_get(&trie->edges, node, (unsigned char)text[i]);
        if (!edge)
            break;
        node = edge->first;
        if (edge->second) {
            length = i + 1;
            *index = edge->second - 1;
        }
    }
    return length;
}

/* Looks through the rest of a text, where walks have taken more steps than that will. Without memory walks go on. */
static void look_from_behind(const struct mq_trie *trie, const char *text, size_t n,
                             struct mq_added_scan *scan)
{
    enum { STEPS_A_BYTE = 8, STEPS_FREE = 4096 };
    if (scan->lengths || !trie->starts.count || scan->steps < STEPS_FREE + STEPS_A_BYTE * scan->at)
        return;
    scan->lengths = malloc((n - scan->at) * sizeof *scan->lengths);
    scan->lengths_from = scan->at;
    scan->steps = 0;
    if (scan->lengths)
        mq_longest_starts_find(&trie->starts, text + scan->at, n - scan->at, scan->lengths);
}

/* The longest token at scan->at. */
static size_t match_at(const struct mq_trie *trie, const char *text, size_t n,
                       struct mq_added_scan *scan, uint32_t *index)
{
    size_t most = n - scan->at;
    if (!trie->first[(unsigned char)text[scan->at]])
        return 0;
    if (scan->lengths)
        most = scan->lengths[scan->at - scan->lengths_from];
    return longest_match(trie, text + scan->at, most, index, &scan->steps);
}

/* single_word: true if neither neighbour is a word character. */
static bool stands_alone(const char *text, size_t n, size_t start, size_t end)
{
    uint32_t code;
    if (start > 0) {
        mq_utf8_next(text + mq_utf8_previous(text, start), &code);
        if (is_word(code))
            return false;
    }
    if (end < n) {
        mq_utf8_next(text + end, &code);
        if (is_word(code))
            return false;
    }
    return true;
}

/* Widens a match by white space on the sides that the token strips, but not into the match before,
 * which ends at `done`. */
static void widen(const struct mq_added_token *token, const char *text, size_t n,
                  struct mq_added_scan *scan, struct mq_added_match *match)
{
    const size_t done = scan->done;
    uint32_t code;
    if (token->lstrip) {
        while (match->start > done) {
            const size_t previous = mq_utf8_previous(text, match->start);
            mq_utf8_next(text + previous, &code);
            if (!mq_is_white_space(code))
                break;
            match->start = previous;
        }
        if (match->start < done)
            match->start = done;
    }
    if (!token->rstrip)
        return;
    /* Up to `spaces_end` all is known to be white space: tokens that are white space themselves
     * would walk over the same run each. */
    if (match->end < scan->spaces_end)
        match->end = scan->spaces_end;
    while (match->end < n) {
        const size_t length = mq_utf8_next(text + match->end, &code);
        if (!mq_is_white_space(code))
            break;
        match->end += length;
    }
    scan->spaces_end = match->end;
}

bool mq_added_tokens_next(const struct mq_tokenizer *tokenizer, const struct mq_trie *trie,
                          const char *text, size_t n, struct mq_added_scan *scan,
                          struct mq_added_match *match)
{
    if (!trie->nodes)
        return false;
    while (scan->at < n) {
        uint32_t index = 0;
        const size_t at = scan->at;
        look_from_behind(trie, text, n, scan);
        const size_t length = match_at(trie, text, n, scan, &index);
        if (!length) {
            scan->at++;
            continue;
        }
        /* The search goes on behind the token itself, even if it strips what follows. */
        scan->at = at + length;
        const struct mq_added_token *token = &tokenizer->added[index];
        if (token->single_word && !stands_alone(text, n, at, at + length))
            continue;
        struct mq_added_match found = {at, at + length, token->id};
        widen(token, text, n, scan, &found);
        /* Nothing is left of it where the token before took all in: then `tokenizers` drops it. */
        if (found.start >= found.end)
            continue;
        *match = found;
        scan->done = found.end;
        return true;
    }
    return false;
}
