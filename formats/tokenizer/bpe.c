/*
 * bpe.c: byte-pair encoding.
 *
 * A word starts as its characters' pieces. Then, as long as two neighbours have a merge, the one
 * of the lowest rank is done, of equal ranks the leftmost. The symbols are a doubly linked list in
 * an array, the merges that could be done a binary heap: a word of n characters takes
 * O(n log n), which matters because SentencePiece-like tokenizers pass whole texts as one word.
 *
 * Those are cut before each word start, where that provably changes nothing: if no merge joins a
 * left piece that does not end in U+2581 (the visible space) to a right piece that begins with it,
 * no merge ever crosses from a character to a U+2581 behind it (see find_cut).
 */
#include "tokenizer_int.h"

#include "error.h"
#include "json_scan.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

struct symbol {
    int32_t id;         /* MQ_NO_ID: merged into its left neighbour */
    int32_t prev, next; /* indices, -1 at the ends */
};

/* A merge that could be done. `order` is the rank, then the position: what the heap sorts by. */
struct candidate {
    uint64_t order;
    int32_t left_id, right_id; /* what stood there: if it has changed, the entry is stale */
    int32_t new_id;
};

struct mq_bpe_scratch {
    struct symbol *symbols;
    size_t symbol_count, symbol_capacity;
    struct candidate *heap;
    size_t heap_count, heap_capacity;
};

struct mq_bpe_scratch *mq_bpe_scratch_create(void)
{
    return calloc(1, sizeof(struct mq_bpe_scratch));
}

void mq_bpe_scratch_free(struct mq_bpe_scratch *scratch)
{
    if (!scratch)
        return;
    free(scratch->symbols);
    free(scratch->heap);
    free(scratch);
}

/* ---- encoding ---- */

static bool push_symbol(struct mq_bpe_scratch *s, int32_t id)
{
    if (s->symbol_count == s->symbol_capacity) {
        const size_t capacity = s->symbol_capacity ? s->symbol_capacity * 2 : 256;
        struct symbol *symbols =
            capacity <= INT32_MAX ? realloc(s->symbols, capacity * sizeof *symbols) : NULL;
        if (!symbols)
            return false;
        s->symbols = symbols;
        s->symbol_capacity = capacity;
    }
    const int32_t at = (int32_t)s->symbol_count++;
    s->symbols[at] = (struct symbol){id, at - 1, at + 1};
    return true;
}

/* Queues the merge of the symbol at `left` with its right neighbour, if there is one. */
static bool push_candidate(const struct mq_tokenizer *t, struct mq_bpe_scratch *s, int32_t left)
{
    const int32_t left_id = s->symbols[left].id;
    const int32_t right_id = s->symbols[s->symbols[left].next].id;
    const struct mq_pair_value *merge =
        mq_pair_map_get(&t->merges, (uint32_t)left_id, (uint32_t)right_id);
    if (!merge)
        return true;
    if (s->heap_count == s->heap_capacity) {
        const size_t capacity = s->heap_capacity ? s->heap_capacity * 2 : 256;
        struct candidate *heap = realloc(s->heap, capacity * sizeof *heap);
        if (!heap)
            return false;
        s->heap = heap;
        s->heap_capacity = capacity;
    }
    const struct candidate c = {(uint64_t)merge->first << 32 | (uint32_t)left, left_id, right_id,
                                (int32_t)merge->second};
    size_t i = s->heap_count++;
    for (size_t parent; i > 0; i = parent) {
        parent = (i - 1) / 2;
        if (s->heap[parent].order <= c.order)
            break;
        s->heap[i] = s->heap[parent];
    }
    s->heap[i] = c;
    return true;
}

static struct candidate pop_candidate(struct mq_bpe_scratch *s)
{
    const struct candidate top = s->heap[0], last = s->heap[--s->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < s->heap_count; i = child) {
        if (child + 1 < s->heap_count && s->heap[child + 1].order < s->heap[child].order)
            child++;
        if (s->heap[child].order >= last.order)
            break;
        s->heap[i] = s->heap[child];
    }
    s->heap[i] = last;
    return top;
}

/*
 * Merges the symbols and appends what is left. Candidates are not removed from the heap when a
 * neighbour changes: a popped one whose two ids no longer stand there is skipped. Each merge
 * removes a symbol and adds at most two candidates, so the heap never sees more than 3n of them.
 */
static bool merge_symbols(const struct mq_tokenizer *t, struct mq_bpe_scratch *s,
                          struct mq_ids *ids)
{
    if (!s->symbol_count)
        return true;
    struct symbol *symbols = s->symbols;
    symbols[s->symbol_count - 1].next = -1;
    s->heap_count = 0;
    for (int32_t i = 0; symbols[i].next >= 0; i++)
        if (!push_candidate(t, s, i))
            return false;
    while (s->heap_count) {
        const struct candidate c = pop_candidate(s);
        const int32_t at = (int32_t)(uint32_t)c.order;
        struct symbol *left = &symbols[at];
        if (left->id != c.left_id || left->next < 0 || symbols[left->next].id != c.right_id)
            continue;
        struct symbol *right = &symbols[left->next];
        left->id = c.new_id;
        left->next = right->next;
        right->id = MQ_NO_ID;
        if (left->next >= 0) {
            symbols[left->next].prev = at;
            if (!push_candidate(t, s, at))
                return false;
        }
        if (left->prev >= 0 && !push_candidate(t, s, left->prev))
            return false;
    }
    for (int32_t i = 0; i >= 0; i = symbols[i].next)
        if (!mq_ids_push(ids, symbols[i].id))
            return false;
    s->symbol_count = 0;
    return true;
}

static int32_t find_char(const struct mq_tokenizer *t, const char *s, size_t n, uint32_t code)
{
    if (code < MQ_CHAR_IDS)
        return t->char_id[code];
    uint32_t id;
    return mq_strmap_get(&t->vocab, s, n, &id) ? (int32_t)id : MQ_NO_ID;
}

/* Pushes the byte pieces of a character without a piece. False if one of them is missing. */
static bool has_all_bytes(const struct mq_tokenizer *t, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (t->byte_id[(unsigned char)s[i]] == MQ_NO_ID)
            return false;
    return t->byte_fallback;
}

/*
 * Characters to symbols. An unknown token waits until the next known character: so that fuse_unk
 * can make one of several, and also where byte pieces come between, which then go first
 * (`tokenizers` does it in this order).
 */
static moeq_status encode_chars(const struct mq_tokenizer *t, struct mq_bpe_scratch *s,
                                const char *word, size_t n, struct mq_ids *ids, moeq_error *err)
{
    bool unk_waits = false, ok = true;
    s->symbol_count = 0;
    for (size_t i = 0, length; i < n && ok; i += length) {
        uint32_t code;
        length = mq_utf8_next(word + i, &code);
        const int32_t id = find_char(t, word + i, length, code);
        if (id != MQ_NO_ID) {
            ok = !unk_waits || push_symbol(s, t->unk_id);
            unk_waits = false;
            if (id == t->cut_id && s->symbol_count && s->symbols[s->symbol_count - 1].id != id)
                ok = ok && merge_symbols(t, s, ids);
            ok = ok && push_symbol(s, id);
        } else if (has_all_bytes(t, word + i, length)) {
            for (size_t k = 0; k < length && ok; k++)
                ok = push_symbol(s, t->byte_id[(unsigned char)word[i + k]]);
        } else if (t->has_unk) {
            if (t->unk_id == MQ_NO_ID)
                return mq_fail(err, MOEQ_MALFORMED,
                               "the tokenizer's unknown token is not in its vocabulary");
            ok = !unk_waits || t->fuse_unk || push_symbol(s, t->unk_id);
            unk_waits = true;
        } /* else the character is dropped */
    }
    ok = ok && (!unk_waits || push_symbol(s, t->unk_id)) && merge_symbols(t, s, ids);
    return ok ? MOEQ_OK : mq_fail_memory(err, "encoding text");
}

moeq_status mq_bpe_encode(const struct mq_tokenizer *tokenizer, struct mq_bpe_scratch *scratch,
                          const char *word, size_t n, struct mq_ids *ids, moeq_error *err)
{
    uint32_t id;
    if (tokenizer->ignore_merges && mq_strmap_get(&tokenizer->vocab, word, n, &id))
        return mq_ids_push(ids, (int32_t)id) ? MOEQ_OK : mq_fail_memory(err, "encoding text");
    return encode_chars(tokenizer, scratch, word, n, ids, err);
}

/* ---- loading ---- */

/* What reading one merge after the other needs. */
struct merge_list {
    struct mq_json_walk walk;
    struct mq_buffer decoded[2], joined;
    uint32_t rank;
    bool crossing; /* see find_cut */
};

/* The two halves of the merge at `walk`: ["a", "b"] or "a b". *is_pair: it has two. *is_version: it is the first line of a
 * merges.txt. */
static moeq_status merge_halves(struct mq_load *load, struct merge_list *list, bool *is_pair,
                                bool *is_version, struct mq_text half[2])
{
    static const char version[] = "#version";
    const struct mq_json_walk *w = &list->walk;
    struct mq_json_walk item = {.text = w->text, .n = w->value_end, .at = w->value};
    size_t count = 0;
    *is_pair = *is_version = false;
    if (item.text[item.at] == '"') {
        struct mq_text all;
        MQ_TRY(mq_load_string(load, w->text, w->value, w->value_end, &list->decoded[0], &all));
        const char *space = memchr(all.data, ' ', all.size), *end = all.data + all.size;
        *is_version = all.size >= 8 && memcmp(all.data, version, 8) == 0;
        *is_pair = space && !memchr(space + 1, ' ', (size_t)(end - space - 1));
        if (*is_pair) {
            half[0] = (struct mq_text){all.data, (size_t)(space - all.data)};
            half[1] = (struct mq_text){space + 1, (size_t)(end - space - 1)};
        }
        return MOEQ_OK;
    }
    if (item.text[item.at] != '[')
        return MOEQ_OK;
    for (; mq_json_walk_item(&item); count++) {
        if (count == 2 || item.text[item.value] != '"')
            return MOEQ_OK;
        MQ_TRY(mq_load_string(load, item.text, item.value, item.value_end, &list->decoded[count],
                              &half[count]));
    }
    *is_pair = count == 2;
    return MOEQ_OK;
}

static moeq_status fail_merge(struct mq_load *load, uint32_t rank, const struct mq_text *piece)
{
    return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                        "merge %u: the piece '%.*s' is not in the vocabulary", rank,
                        (int)(piece->size < 200 ? piece->size : 200), piece->data);
}

static moeq_status load_merge(struct mq_load *load, uint32_t rank, const struct mq_text *left,
                              const struct mq_text *right, struct mq_buffer *joined)
{
    struct mq_tokenizer *t = load->tokenizer;
    uint32_t left_id, right_id, new_id;
    mq_buffer_clear(joined);
    mq_buffer_append(joined, left->data, left->size);
    mq_buffer_append(joined, right->data, right->size);
    if (!mq_buffer_ok(joined))
        return mq_fail_memory(load->err, "reading the tokenizer's merges");
    if (!mq_strmap_get(&t->vocab, left->data, left->size, &left_id))
        return fail_merge(load, rank, left);
    if (!mq_strmap_get(&t->vocab, right->data, right->size, &right_id))
        return fail_merge(load, rank, right);
    if (!mq_strmap_get(&t->vocab, joined->data, joined->size, &new_id))
        return fail_merge(load, rank, &(struct mq_text){joined->data, joined->size});
    /* Of a merge that is there twice the last rank counts. */
    if (!mq_pair_map_set(&t->merges, left_id, right_id, (struct mq_pair_value){rank, new_id}))
        return mq_fail_memory(load->err, "reading the tokenizer's merges");
    return MOEQ_OK;
}

static bool ends_with_space(const char *text, size_t n)
{
    return n >= 3 && memcmp(text + n - 3, MQ_VISIBLE_SPACE, 3) == 0;
}

/*
 * Sets cut_id if words may be cut before U+2581 wherever another piece stands to its left. A symbol
 * that spans such a place would come of a merge whose left piece ends with what the left symbol
 * ends with and whose right piece begins with U+2581; `crossing` says that some merge has this
 * form. The left symbol is a character, a byte's piece or the unknown token, which must not end in
 * U+2581 unseen, nor be empty.
 */
static void find_cut(struct mq_tokenizer *t, bool crossing)
{
    uint32_t id;
    t->cut_id = MQ_NO_ID;
    if (crossing || !mq_strmap_get(&t->vocab, MQ_VISIBLE_SPACE, 3, &id))
        return;
    const struct mq_token *unk = t->unk_id == MQ_NO_ID ? NULL : &t->tokens[t->unk_id];
    if (unk && t->unk_id != (int32_t)id && (!unk->size || ends_with_space(unk->text, unk->size)))
        return;
    t->cut_id = (int32_t)id;
}

static moeq_status load_merge_item(struct mq_load *load, struct merge_list *list)
{
    struct mq_text half[2];
    bool is_pair, is_version;
    MQ_TRY(merge_halves(load, list, &is_pair, &is_version, half));
    if (is_version)
        return MOEQ_OK;
    if (!is_pair)
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                            "merge %u is not a pair of pieces", list->rank);
    list->crossing |= !ends_with_space(half[0].data, half[0].size) && half[1].size >= 3 &&
                      memcmp(half[1].data, MQ_VISIBLE_SPACE, 3) == 0;
    return load_merge(load, list->rank++, &half[0], &half[1], &list->joined);
}

static moeq_status load_merges(struct mq_load *load)
{
    struct merge_list list = {.walk = load->merges};
    moeq_status status = MOEQ_OK;
    size_t count = 0;
    if (!load->merges.text)
        return mq_load_malformed(load, "model", "'merges' is missing or no list");
    while (mq_json_walk_item(&list.walk))
        count++;
    if (!mq_pair_map_init(&load->tokenizer->merges, count))
        return mq_fail_memory(load->err, "reading the tokenizer's merges");
    list.walk = load->merges;
    while (status == MOEQ_OK && mq_json_walk_item(&list.walk))
        status = load_merge_item(load, &list);
    mq_buffer_free(&list.decoded[0]);
    mq_buffer_free(&list.decoded[1]);
    mq_buffer_free(&list.joined);
    if (status == MOEQ_OK)
        find_cut(load->tokenizer, list.crossing);
    return status;
}

/* The tables that spare encode_chars its hash look-ups. */
static void index_chars(struct mq_tokenizer *t)
{
    for (size_t i = 0; i < MQ_CHAR_IDS; i++)
        t->char_id[i] = MQ_NO_ID;
    for (uint32_t id = 0; id < t->vocab_size; id++) {
        const struct mq_token *token = &t->tokens[id];
        uint32_t code;
        if (token->text && token->size && mq_utf8_next(token->text, &code) == token->size &&
            code < MQ_CHAR_IDS)
            t->char_id[code] = (int32_t)id;
    }
    mq_index_bytes(t);
}

void mq_index_bytes(struct mq_tokenizer *t)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        static const char hex[] = "0123456789ABCDEF";
        const char piece[] = {'<', '0', 'x', hex[byte >> 4], hex[byte & 15], '>'};
        uint32_t id;
        t->byte_id[byte] =
            mq_strmap_get(&t->vocab, piece, sizeof piece, &id) ? (int32_t)id : MQ_NO_ID;
    }
}

/* Members that must be absent, null, empty or 0 because they are not implemented. */
static moeq_status refuse_options(struct mq_load *load, const cJSON *model)
{
    static const char *const keys[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cJSON *item = mq_json_get(model, keys[i]);
        if (item && !cJSON_IsNull(item) && !(cJSON_IsString(item) && !*item->valuestring))
            return mq_load_unsupported(load, "model BPE", keys[i]);
    }
    const cJSON *dropout = mq_json_get(model, "dropout");
    if (dropout && !cJSON_IsNull(dropout) &&
        !(cJSON_IsNumber(dropout) && dropout->valuedouble == 0))
        return mq_load_unsupported(load, "model BPE", "dropout");
    return MOEQ_OK;
}

/* Reads what stands beside the vocabulary, which load.c has entered. */
moeq_status mq_bpe_load(struct mq_load *load, const cJSON *model)
{
    static const char what[] = "model BPE";
    struct mq_tokenizer *t = load->tokenizer;
    MQ_TRY(refuse_options(load, model));
    MQ_TRY(mq_load_flag(load, model, "byte_fallback", what, 0, &t->byte_fallback));
    MQ_TRY(mq_load_flag(load, model, "fuse_unk", what, 0, &t->fuse_unk));
    MQ_TRY(mq_load_flag(load, model, "ignore_merges", what, 0, &t->ignore_merges));
    t->unk_id = MQ_NO_ID;
    const cJSON *unk = mq_json_get(model, "unk_token");
    if (unk && !cJSON_IsNull(unk)) {
        if (!cJSON_IsString(unk))
            return mq_load_malformed(load, what, "'unk_token' is no text");
        uint32_t id;
        t->has_unk = true;
        if (mq_strmap_get(&t->vocab, unk->valuestring, strlen(unk->valuestring), &id))
            t->unk_id = (int32_t)id;
    }
    index_chars(t);
    return load_merges(load);
}
