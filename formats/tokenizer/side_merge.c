/*
 * side_merge.c: brings the tokens of side files into a tokenizer.json.
 *
 * Only the member "added_tokens" of the file ever changes, so it is cut out of the text and
 * replaced, and the rest stays as it is to the byte. The vocabulary, by far the largest member, is
 * looked at only if a token is new.
 */
#include "side_files_int.h"

#include "error.h"
#include "json_span.h"
#include "tokenizer.h"
#include "utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Tokens shown in a note, and counted in one. */
enum { SHOWN = 4, SHOWN_BYTES = 64, SHOWN_DROPPED = 32 };

/* ---- what is merged ---- */

/* A token of the result. */
struct effective {
    struct mq_side_token token, own; /* own: as tokenizer.json has it, if it does */
    uint64_t id, declared;           /* declared: the id that a side file says; UINT64_MAX: none */
    bool has_id;
};

struct merge {
    const char *json;
    size_t n;
    struct mq_side_tokens side;
    cJSON *base, *vocab; /* added_tokens and the vocabulary of tokenizer.json */
    struct mq_json_span base_span;
    bool has_base;
    struct effective *tokens; /* first those of tokenizer.json */
    size_t count, base_count, changed;
    struct mq_strmap contents;  /* content -> index in tokens */
    struct mq_side_token *todo; /* the side files' tokens in the order of being added */
    size_t todo_count;
    struct mq_tokenizer_merged *out;
    moeq_error *err;
};

static moeq_status no_memory(struct merge *m)
{
    return mq_fail_memory(m->err, "reading the tokenizer");
}

static bool same_token(const struct mq_side_token *a, const struct mq_side_token *b)
{
    return strcmp(a->content, b->content) == 0 && memcmp(a->flags, b->flags, sizeof a->flags) == 0;
}

static bool has(const struct mq_strmap *map, const char *text, uint32_t *index)
{
    return mq_strmap_get(map, text, strlen(text), index);
}

/* ---- tokenizer.json's own ---- */

/* Parses a part of it. What is wrong there the loader of tokenizer.json will say; only a lack of
 * memory is a failure. */
static moeq_status parse_part(struct merge *m, struct mq_json_span part, uint64_t values,
                              cJSON **tree)
{
    const struct mq_json_limits limits = {.depth = 8, .values = values};
    moeq_error ignored = {0};
    const moeq_status status =
        mq_json_parse(m->json + part.at, part.size, &limits, "", 0, tree, &ignored);
    return status == MOEQ_NO_MEMORY ? no_memory(m) : MOEQ_OK;
}

/* What a program last padded with is a special token unless a side file names one. */
static moeq_status name_padding(struct merge *m)
{
    const struct mq_json_span whole = {0, m->n};
    struct mq_json_span padding;
    cJSON *tree = NULL;
    if (m->side.names_pad || !mq_json_find_member(m->json, whole, "padding", &padding))
        return MOEQ_OK;
    moeq_status status = parse_part(m, padding, MQ_SIDE_VALUES, &tree);
    const cJSON *pad = mq_json_get(tree, "pad_token");
    if (cJSON_IsString(pad)) {
        const struct mq_side_token token = {.content =
                                                mq_arena_strdup(m->side.arena, pad->valuestring),
                                            .flags = {[MQ_SPECIAL] = true},
                                            .is_text = true};
        status = token.content ? mq_side_name(&m->side, "pad_token", &token) : no_memory(m);
    }
    cJSON_Delete(tree);
    return status;
}

/* Its added tokens. *usable: false where it is no text that can be merged into. */
static moeq_status read_base(struct merge *m, bool *usable)
{
    const struct mq_json_span whole = {0, m->n};
    *usable = m->n && memchr(m->json, '{', m->n);
    if (!*usable)
        return MOEQ_OK;
    m->has_base = mq_json_find_member(m->json, whole, "added_tokens", &m->base_span);
    if (m->has_base) {
        MQ_TRY(parse_part(m, m->base_span, MQ_SIDE_VALUES, &m->base));
        *usable = cJSON_IsArray(m->base) || cJSON_IsNull(m->base);
    }
    return name_padding(m);
}

static moeq_status enter_base(struct merge *m, bool *usable)
{
    moeq_error ignored = {0};
    for (const cJSON *item = m->base ? m->base->child : NULL; item; item = item->next) {
        struct effective *e = &m->tokens[m->count];
        *e = (struct effective){.has_id = true, .declared = UINT64_MAX};
        *usable = mq_side_token_object(item, "", "", &e->token, &ignored) == MOEQ_OK &&
                  mq_json_u64(mq_json_get(item, "id"), &e->id);
        if (!*usable)
            return MOEQ_OK;
        switch (mq_strmap_add(&m->contents, e->token.content, strlen(e->token.content),
                              (uint32_t)m->count)) {
        case MQ_STRMAP_NO_MEMORY:
            return no_memory(m);
        case MQ_STRMAP_DUPLICATE:
            *usable = false;
            return MOEQ_OK;
        case MQ_STRMAP_ADDED:
            e->own = e->token;
            m->count++;
        }
    }
    m->base_count = m->count;
    return MOEQ_OK;
}

/* ---- the order of being added ---- */

/*
 * Without added_tokens_decoder, Transformers puts tokenizer.json's own tokens and those of
 * added_tokens.json into one table by id, in which the former count, and adds all of it. So an own
 * token becomes special if it is named, and of two descriptions of a content that of the larger id
 * stays.
 */
static moeq_status join_own_tokens(struct merge *m)
{
    struct mq_side_tokens *s = &m->side;
    struct mq_strmap taken;
    struct mq_side_numbered *all =
        mq_arena_alloc(s->arena, m->base_count + s->numbered_count + 1, sizeof *all);
    bool ok = all && mq_strmap_init(&taken, m->base_count);
    if (!ok)
        return no_memory(m);
    size_t n = 0;
    for (size_t i = 0; ok && i < m->base_count; i++, n++) {
        all[n] = (struct mq_side_numbered){m->tokens[i].token, m->tokens[i].id, true};
        ok = mq_strmap_add(&taken, (const char *)&all[n].id, sizeof all[n].id, 0) !=
             MQ_STRMAP_NO_MEMORY;
    }
    for (size_t i = 0; ok && i < s->numbered_count; i++) {
        uint32_t unused;
        if (!mq_strmap_get(&taken, (const char *)&s->numbered[i].id, sizeof all->id, &unused))
            all[n++] = s->numbered[i];
    }
    mq_strmap_free(&taken);
    if (!ok)
        return no_memory(m);
    s->numbered = all;
    s->numbered_count = n;
    mq_side_sort(s);
    return MOEQ_OK;
}

/* bos to mask are the tokens that the numbered ones or tokenizer.json describe, if any do.
 * (Transformers looks into tokenizer.json only where added_tokens_decoder is absent.) */
static moeq_status describe_named(struct merge *m)
{
    struct mq_side_tokens *s = &m->side;
    struct mq_strmap numbered;
    bool ok = mq_strmap_init(&numbered, s->numbered_count);
    /* Of equal contents the last counts: from the end on, the first that is added. */
    for (size_t i = s->numbered_count; ok && i-- > 0;)
        ok =
            mq_strmap_add(&numbered, s->numbered[i].token.content,
                          strlen(s->numbered[i].token.content), (uint32_t)i) != MQ_STRMAP_NO_MEMORY;
    for (size_t i = 0; ok && i < MQ_SIDE_ATTRIBUTES; i++) {
        struct mq_side_named *named = &s->named[i];
        uint32_t at;
        if (!named->set)
            continue;
        if (!s->has_decoder && has(&m->contents, named->token.content, &at) && at < m->base_count)
            named->token = m->tokens[at].token;
        else if (has(&numbered, named->token.content, &at))
            named->token = s->numbered[at].token;
    }
    mq_strmap_free(&numbered);
    return ok ? MOEQ_OK : no_memory(m);
}

/* Appends to the list, unless the very same token is there. */
static moeq_status append_todo(struct merge *m, struct mq_strmap *seen,
                               const struct mq_side_token *token)
{
    const char *flags = token->is_text ? "text" : "";
    char *key =
        mq_arena_printf(m->side.arena, "%d%d%d%d%d%s %s", token->flags[0], token->flags[1],
                        token->flags[2], token->flags[3], token->flags[4], flags, token->content);
    if (!key)
        return no_memory(m);
    switch (mq_strmap_add(seen, key, strlen(key), 0)) {
    case MQ_STRMAP_NO_MEMORY:
        return no_memory(m);
    case MQ_STRMAP_DUPLICATE:
        return MOEQ_OK;
    case MQ_STRMAP_ADDED:
        m->todo[m->todo_count++] = *token;
    }
    return MOEQ_OK;
}

/* A token that is not special though it is one of bos to mask, or of another key, is special. */
static moeq_status mark_named(struct merge *m)
{
    const struct mq_side_tokens *s = &m->side;
    struct mq_strmap named;
    bool ok = mq_strmap_init(&named, s->named_count);
    for (size_t i = 0; ok && i < s->named_count; i++)
        if (s->named[i].set)
            ok = mq_strmap_add(&named, s->named[i].token.content, strlen(s->named[i].token.content),
                               0) != MQ_STRMAP_NO_MEMORY;
    for (size_t i = 0; ok && i < m->todo_count; i++) {
        struct mq_side_token *token = &m->todo[i];
        uint32_t unused;
        if (has(&named, token->content, &unused))
            token->flags[MQ_SPECIAL] = true;
    }
    mq_strmap_free(&named);
    return ok ? MOEQ_OK : no_memory(m);
}

static moeq_status list_todo(struct merge *m, struct mq_strmap *seen, struct mq_strmap *numbered)
{
    const struct mq_side_tokens *s = &m->side;
    uint32_t unused;
    for (size_t i = 0; i < s->numbered_count; i++) {
        const struct mq_side_token *token = &s->numbered[i].token;
        if (mq_strmap_add(numbered, token->content, strlen(token->content), 0) ==
            MQ_STRMAP_NO_MEMORY)
            return no_memory(m);
        MQ_TRY(append_todo(m, seen, token));
    }
    for (size_t i = 0; i < s->named_count + s->extra_count; i++) {
        const bool is_named = i < s->named_count;
        const struct mq_side_token *token =
            is_named ? &s->named[i].token : &s->extra[i - s->named_count];
        if ((is_named && !s->named[i].set) || has(numbered, token->content, &unused) ||
            has(&m->contents, token->content, &unused))
            continue;
        MQ_TRY(append_todo(m, seen, token));
    }
    return mark_named(m);
}

static moeq_status order_tokens(struct merge *m)
{
    const struct mq_side_tokens *s = &m->side;
    struct mq_strmap seen = {0}, numbered = {0};
    if (!s->has_decoder)
        MQ_TRY(join_own_tokens(m));
    MQ_TRY(describe_named(m));
    const size_t room = s->numbered_count + s->named_count + s->extra_count;
    m->todo = mq_arena_alloc(s->arena, room + 1, sizeof *m->todo);
    moeq_status status =
        m->todo && mq_strmap_init(&seen, room) && mq_strmap_init(&numbered, s->numbered_count)
            ? MOEQ_OK
            : no_memory(m);
    if (status == MOEQ_OK)
        status = list_todo(m, &seen, &numbered);
    mq_strmap_free(&seen);
    mq_strmap_free(&numbered);
    return status;
}

/* ---- adding ---- */

static moeq_status add_tokens(struct merge *m)
{
    uint32_t at;
    for (size_t i = 0; i < m->todo_count; i++) {
        const struct mq_side_token *token = &m->todo[i];
        if (!token->content[0]) /* `tokenizers` ignores an empty one */
            continue;
        if (has(&m->contents, token->content, &at)) {
            m->tokens[at].token = *token;
            continue;
        }
        at = (uint32_t)m->count;
        m->tokens[m->count++] = (struct effective){.token = *token, .declared = UINT64_MAX};
        if (mq_strmap_add(&m->contents, token->content, strlen(token->content), at) ==
            MQ_STRMAP_NO_MEMORY)
            return no_memory(m);
    }
    for (size_t i = 0; i < m->base_count; i++)
        m->changed += !same_token(&m->tokens[i].token, &m->tokens[i].own);
    for (size_t i = 0; i < m->side.numbered_count; i++) {
        const struct mq_side_numbered *n = &m->side.numbered[i];
        if (!n->is_own && has(&m->contents, n->token.content, &at))
            m->tokens[at].declared = n->id;
    }
    return MOEQ_OK;
}

/* The vocabulary as a tree; NULL if tokenizer.json has none that can be read. */
static moeq_status read_vocab(struct merge *m)
{
    const struct mq_json_span whole = {0, m->n};
    struct mq_json_span model, vocab;
    if (!mq_json_find_member(m->json, whole, "model", &model) || m->json[model.at] != '{' ||
        !mq_json_find_member(m->json, model, "vocab", &vocab))
        return MOEQ_OK;
    const char first = m->json[vocab.at];
    return first == '{' || first == '[' ? parse_part(m, vocab, MQ_TOKENIZER_MAX_VALUES, &m->vocab)
                                        : MOEQ_OK;
}

/* Ids of the new tokens: that of the piece, or else the next one behind the vocabulary and all
 * added tokens (AddedVocabulary::add_tokens of `tokenizers`). */
static void number_tokens(struct merge *m)
{
    uint64_t pieces = 0, next = 0;
    for (const cJSON *item = m->vocab->child; item; item = item->next, pieces++) {
        const bool is_list = cJSON_IsArray(item); /* [piece, score], numbered in their order */
        const char *piece = is_list ? cJSON_GetStringValue(item->child) : item->string;
        uint32_t at;
        if (!piece || !has(&m->contents, piece, &at) || at < m->base_count)
            continue;
        m->tokens[at].has_id = is_list || mq_json_u64(item, &m->tokens[at].id);
        if (is_list)
            m->tokens[at].id = pieces;
    }
    next = pieces;
    for (size_t i = 0; i < m->base_count; i++)
        if (m->tokens[i].id >= next)
            next = m->tokens[i].id + 1;
    for (size_t i = m->base_count; i < m->count; i++) {
        struct effective *e = &m->tokens[i];
        if (!e->has_id)
            e->id = next;
        e->has_id = true;
        if (e->id >= next)
            next = e->id + 1;
    }
}

/* ---- notes ---- */

/* A content in quotes, cut at a character. */
static void put_content(struct mq_buffer *b, const char *content)
{
    const size_t n = strlen(content), shown = mq_utf8_cut(content, n, SHOWN_BYTES);
    mq_buffer_put_json(b, content, shown);
    if (shown < n)
        mq_buffer_puts(b, "...");
}

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static void note_added(struct merge *m)
{
    struct mq_buffer *b = &m->out->notes;
    const size_t added = m->count - m->base_count;
    if (!added)
        return;
    mq_buffer_printf(b,
                     "%zu token%s that tokenizer.json does not add %s added, as Transformers does, "
                     "since the files beside it say so:",
                     added, plural(added), added == 1 ? "is" : "are");
    for (size_t i = 0; i < added && i < SHOWN; i++) {
        const struct effective *e = &m->tokens[m->base_count + i];
        mq_buffer_puts(b, i ? ", " : " ");
        put_content(b, e->token.content);
        mq_buffer_printf(b, " = %" PRIu64, e->id);
    }
    mq_buffer_puts(b, added > SHOWN ? ", ...\n" : "\n");
}

static void note_ids(struct merge *m)
{
    struct mq_buffer *b = &m->out->notes;
    const char *where = m->side.has_decoder ? MQ_CONFIG_NAME : MQ_ADDED_NAME;
    size_t others = 0;
    const struct effective *first = NULL;
    for (size_t i = 0; i < m->count; i++) {
        const struct effective *e = &m->tokens[i];
        if (e->declared == UINT64_MAX || e->declared == e->id)
            continue;
        first = first ? first : e;
        others++;
    }
    if (!first)
        return;
    mq_buffer_printf(b, "%s has another id for %zu token%s than tokenizer.json leads to: ", where,
                     others, plural(others));
    put_content(b, first->token.content);
    mq_buffer_printf(b, " has %" PRIu64 " there and is read as %" PRIu64 ", as by Transformers\n",
                     first->declared, first->id);
}

static void note_flags(struct merge *m)
{
    if (m->changed)
        mq_buffer_printf(&m->out->notes,
                         "how %zu added token%s of tokenizer.json %s found in a text (lstrip, "
                         "normalized, special, ...) is taken from the files beside it, which say "
                         "otherwise\n",
                         m->changed, plural(m->changed), m->changed == 1 ? "is" : "are");
}

/* Tokens of added_tokens.json that did not come in. */
static void note_dropped(struct merge *m)
{
    size_t dropped = 0, looks = 0;
    const char *first = NULL;
    for (const cJSON *c = m->side.added ? m->side.added->child : NULL; c; c = c->next) {
        uint32_t unused;
        if (!c->string[0] || has(&m->contents, c->string, &unused))
            continue;
        if (looks++ == SHOWN_DROPPED) /* each look for a piece is linear */
            break;
        if (m->vocab && cJSON_GetObjectItemCaseSensitive(m->vocab, c->string))
            continue;
        first = first ? first : c->string;
        dropped++;
    }
    if (!dropped)
        return;
    mq_buffer_printf(&m->out->notes, "%zu token%s of " MQ_ADDED_NAME " %s not read: ", dropped,
                     plural(dropped), dropped == 1 ? "is" : "are");
    put_content(&m->out->notes, first);
    mq_buffer_puts(&m->out->notes, m->side.has_decoder
                                       ? " is not in added_tokens_decoder of " MQ_CONFIG_NAME
                                         ", which counts\n"
                                       : " has the id of another token of tokenizer.json\n");
}

/* Whether a post-processor puts a special token in front of a text, or behind it. The recursion is
 * as deep as parse_part lets JSON be. */
// NOLINTNEXTLINE(misc-no-recursion): see above
static bool adds_token(const cJSON *processor, bool behind)
{
    const cJSON *list = mq_json_get(processor, "processors"), *c;
    const cJSON *single = mq_json_get(processor, "single");
    bool adds = false;
    for (c = cJSON_IsArray(list) ? list->child : NULL; c; c = c->next)
        adds = adds || adds_token(c, behind);
    for (c = cJSON_IsArray(single) ? single->child : NULL; c; c = c->next)
        if (behind ? !c->next : c == single->child)
            adds = adds || mq_json_get(c, "SpecialToken");
    return adds;
}

/* add_bos_token and add_eos_token, where the post-processor has it otherwise. */
static moeq_status note_affixes(struct merge *m)
{
    static const char *const keys[] = {"add_bos_token", "add_eos_token"};
    const struct mq_json_span whole = {0, m->n};
    struct mq_json_span span;
    cJSON *processor = NULL;
    const cJSON *flags[] = {mq_json_get(m->side.config, keys[0]),
                            mq_json_get(m->side.config, keys[1])};
    if (!cJSON_IsBool(flags[0]) && !cJSON_IsBool(flags[1]))
        return MOEQ_OK;
    if (mq_json_find_member(m->json, whole, "post_processor", &span))
        MQ_TRY(parse_part(m, span, MQ_SIDE_VALUES, &processor));
    for (int i = 0; i < 2; i++) {
        const bool adds = adds_token(processor, i == 1);
        if (cJSON_IsBool(flags[i]) && cJSON_IsTrue(flags[i]) != adds)
            mq_buffer_printf(&m->out->notes,
                             "%s of " MQ_CONFIG_NAME " is not followed: the post-processor of "
                             "tokenizer.json puts %s special token %s a text, and it counts, as in "
                             "Transformers 5\n",
                             keys[i], adds ? "a" : "no", i ? "behind" : "in front of");
    }
    cJSON_Delete(processor);
    return MOEQ_OK;
}

static void put_notes(struct merge *m)
{
    note_added(m);
    note_ids(m);
    note_flags(m);
    note_dropped(m);
    if (m->side.splits_special)
        mq_buffer_puts(&m->out->notes,
                       MQ_CONFIG_NAME ": split_special_tokens is not followed: special tokens in "
                                      "a text are read as such\n");
}

/* ---- the texts ---- */

static void put_token(struct mq_buffer *b, const struct effective *e)
{
    mq_buffer_printf(b, "{\"id\":%" PRIu64 ",\"content\":", e->id);
    mq_buffer_put_json(b, e->token.content, strlen(e->token.content));
    for (int f = 0; f < MQ_FLAGS; f++)
        mq_buffer_printf(b, ",\"%s\":%s", mq_flag_names[f], e->token.flags[f] ? "true" : "false");
    mq_buffer_putc(b, '}');
}

static void put_tokenizer(struct merge *m)
{
    struct mq_buffer *b = &m->out->tokenizer;
    const char *brace = memchr(m->json, '{', m->n);
    const size_t begin = m->has_base ? m->base_span.at : (size_t)(brace - m->json) + 1;
    const size_t end = m->has_base ? begin + m->base_span.size : begin;
    mq_buffer_append(b, m->json, begin);
    mq_buffer_puts(b, m->has_base ? "[" : "\"added_tokens\":[");
    for (size_t i = 0; i < m->count; i++) {
        if (i)
            mq_buffer_putc(b, ',');
        put_token(b, &m->tokens[i]);
    }
    mq_buffer_puts(b, m->has_base ? "]" : "],");
    mq_buffer_append(b, m->json + end, m->n - end);
}

/* The content of a special token in either form; NULL: none. */
static const char *content_of(const cJSON *item)
{
    return cJSON_GetStringValue(cJSON_IsObject(item) ? mq_json_get(item, "content") : item);
}

/* tokenizer_config.json with the special tokens that special_tokens_map.json names otherwise, so
 * that whoever asks which token is EOS finds it there. */
static moeq_status put_config(struct merge *m)
{
    struct mq_side_tokens *s = &m->side;
    struct mq_buffer changed = {0};
    bool differs = false;
    if (s->has_decoder || !s->map)
        return MOEQ_OK;
    cJSON *tree = s->config ? cJSON_Duplicate(s->config, true) : cJSON_CreateObject();
    bool ok = tree != NULL;
    for (int i = 0; ok && i < MQ_SIDE_ATTRIBUTES; i++) {
        const char *key = s->named[i].key;
        const cJSON *mapped = mq_json_get(s->map, key);
        const char *a = content_of(mapped), *b = content_of(mq_json_get(s->config, key));
        /* Where only flags differ, they are in tokenizer.json now. */
        if (!mapped || a == b || (a && b && strcmp(a, b) == 0))
            continue;
        differs = true;
        if (b) /* or the map alone says it */
            mq_buffer_printf(&changed, "%s%s", changed.size ? ", " : "", key);
        cJSON *copy = cJSON_Duplicate(mapped, true);
        cJSON_DeleteItemFromObjectCaseSensitive(tree, key);
        ok = copy && cJSON_AddItemToObject(tree, key, copy);
    }
    char *text = ok && differs ? cJSON_PrintUnformatted(tree) : NULL;
    ok = ok && mq_buffer_ok(&changed) && (text || !differs);
    if (text)
        mq_buffer_puts(&m->out->config, text);
    if (ok && changed.size)
        mq_buffer_printf(&m->out->notes, "%s: as " MQ_MAP_NAME " says, not as " MQ_CONFIG_NAME "\n",
                         changed.data);
    cJSON_free(text);
    cJSON_Delete(tree);
    mq_buffer_free(&changed);
    return ok ? MOEQ_OK : no_memory(m);
}

/* ---- all of it ---- */

static bool names_nothing(const struct mq_side_tokens *s)
{
    bool named = false;
    for (size_t i = 0; i < s->named_count; i++)
        named = named || s->named[i].set;
    return !named && !s->numbered_count && !s->extra_count;
}

static moeq_status merge(struct merge *m)
{
    const struct mq_side_tokens *s = &m->side;
    bool usable;
    MQ_TRY(read_base(m, &usable));
    MQ_TRY(put_config(m));
    if (!usable)
        return MOEQ_OK;
    MQ_TRY(note_affixes(m));
    if (names_nothing(s) && !s->added) {
        put_notes(m);
        return MOEQ_OK;
    }
    const size_t own = m->base ? (size_t)cJSON_GetArraySize(m->base) : 0;
    const size_t room = own + s->numbered_count + s->named_count + s->extra_count;
    m->tokens = mq_arena_alloc(s->arena, room + 1, sizeof *m->tokens);
    if (!m->tokens || !mq_strmap_init(&m->contents, room))
        return no_memory(m);
    MQ_TRY(enter_base(m, &usable));
    if (!usable)
        return MOEQ_OK;
    MQ_TRY(order_tokens(m));
    MQ_TRY(add_tokens(m));
    if (m->count > m->base_count) {
        MQ_TRY(read_vocab(m));
        if (!m->vocab)
            return MOEQ_OK;
        number_tokens(m);
    }
    if (m->count > m->base_count || m->changed)
        put_tokenizer(m);
    put_notes(m);
    return MOEQ_OK;
}

moeq_status mq_tokenizer_merge(const char *json, size_t n, const struct mq_tokenizer_side *side,
                               struct mq_tokenizer_merged *merged, moeq_error *err)
{
    struct mq_arena *arena = mq_arena_create();
    struct merge m = {.json = json, .n = n, .out = merged, .err = err};
    m.side.err = err;
    m.side.arena = arena;
    moeq_status status = arena ? mq_side_tokens_read(&m.side, side) : no_memory(&m);
    if (status == MOEQ_OK)
        status = merge(&m);
    if (status == MOEQ_OK && (!mq_buffer_ok(&merged->tokenizer) || !mq_buffer_ok(&merged->config) ||
                              !mq_buffer_ok(&merged->notes)))
        status = no_memory(&m);
    mq_strmap_free(&m.contents);
    cJSON_Delete(m.base);
    cJSON_Delete(m.vocab);
    mq_side_tokens_free(&m.side);
    mq_arena_destroy(arena);
    if (status != MOEQ_OK)
        mq_tokenizer_merged_free(merged);
    return status;
}

void mq_tokenizer_merged_free(struct mq_tokenizer_merged *merged)
{
    mq_buffer_free(&merged->tokenizer);
    mq_buffer_free(&merged->config);
    mq_buffer_free(&merged->notes);
}
