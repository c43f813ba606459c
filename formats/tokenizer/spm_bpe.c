/*
 * spm_bpe.c: byte-pair encoding as sentencepiece does it (bpe_model.cc), by scores.
 *
 * A text starts as its characters and user-defined symbols. Any two neighbours whose texts together
 * are a piece may be joined, those that make the piece of the highest score first, of equal scores
 * the leftmost; user-defined symbols never are. Afterwards pieces of the type UNUSED, which only
 * helped to build others, are taken apart again, as they were last put together.
 *
 * The symbols are a doubly linked list in an array, the joins that could be done a binary heap: n
 * characters take O(n (log n + longest piece)).
 */
#include "scored.h"

#include "utf8.h"

#include <stdlib.h>
#include <string.h>

struct symbol {
    size_t start;
    uint32_t size;      /* bytes; 0: joined to its left neighbour */
    int32_t prev, next; /* indices, -1 at the ends */
    bool frozen;        /* a user-defined symbol */
};

/* A join that could be done: stale if the two no longer have the size. */
struct candidate {
    float score;
    int32_t left, right;
    uint32_t size;
};

/* How an UNUSED piece was put together last, in the call of that number. */
struct parts {
    uint32_t call, left_size;
};

struct mq_spm_bpe {
    struct symbol *symbols;
    size_t symbol_count, symbol_capacity;
    struct candidate *heap;
    size_t heap_count, heap_capacity;
    struct parts *parts; /* by id; only where there are UNUSED pieces */
    uint32_t call;
};

struct mq_spm_bpe *mq_spm_bpe_create(void)
{
    return calloc(1, sizeof(struct mq_spm_bpe));
}

void mq_spm_bpe_free(struct mq_spm_bpe *bpe)
{
    if (!bpe)
        return;
    free(bpe->symbols);
    free(bpe->heap);
    free(bpe->parts);
    free(bpe);
}

/* Doubles an array when it is full. */
static bool make_room(void **array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return true;
    const size_t wanted = *capacity ? *capacity * 2 : 256;
    void *grown = wanted <= INT32_MAX ? realloc(*array, wanted * size) : NULL;
    if (!grown)
        return false;
    *array = grown;
    *capacity = wanted;
    return true;
}

static bool goes_before(const struct candidate *a, const struct candidate *b)
{
    return a->score != b->score ? a->score > b->score : a->left < b->left;
}

static bool push_candidate(struct mq_spm_bpe *b, const struct candidate *c)
{
    if (!make_room((void **)&b->heap, b->heap_count, &b->heap_capacity, sizeof *b->heap))
        return false;
    size_t i = b->heap_count++;
    for (size_t parent; i > 0; i = parent) {
        parent = (i - 1) / 2;
        if (!goes_before(c, &b->heap[parent]))
            break;
        b->heap[i] = b->heap[parent];
    }
    b->heap[i] = *c;
    return true;
}

static struct candidate pop_candidate(struct mq_spm_bpe *b)
{
    const struct candidate top = b->heap[0], last = b->heap[--b->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < b->heap_count; i = child) {
        if (child + 1 < b->heap_count && goes_before(&b->heap[child + 1], &b->heap[child]))
            child++;
        if (!goes_before(&b->heap[child], &last))
            break;
        b->heap[i] = b->heap[child];
    }
    b->heap[i] = last;
    return top;
}

/* The piece of a text that joining may make; MQ_NO_ID if there is none. */
static int32_t find_made(const struct mq_tokenizer *t, const char *text, size_t n)
{
    uint32_t id;
    if (n > t->scored->longest || !mq_strmap_get(&t->vocab, text, n, &id))
        return MQ_NO_ID;
    const enum mq_piece_type type = mq_piece_type(t->scored, (int32_t)id);
    return type == MQ_PIECE_NORMAL || type == MQ_PIECE_USER_DEFINED || type == MQ_PIECE_UNUSED
               ? (int32_t)id
               : MQ_NO_ID;
}

/* Queues the join of two neighbours, if it makes a piece. */
static bool consider(const struct mq_tokenizer *t, struct mq_spm_bpe *b, const char *text,
                     int32_t left, int32_t right)
{
    if (left < 0 || right < 0 || b->symbols[left].frozen || b->symbols[right].frozen)
        return true;
    const struct symbol *l = &b->symbols[left];
    const uint32_t size = l->size + b->symbols[right].size;
    const int32_t id = find_made(t, text + l->start, size);
    if (id == MQ_NO_ID)
        return true;
    if (mq_piece_type(t->scored, id) == MQ_PIECE_UNUSED && b->parts)
        b->parts[id] = (struct parts){b->call, l->size};
    return push_candidate(b, &(struct candidate){(float)t->scored->scores[id], left, right, size});
}

static bool split_symbols(const struct mq_tokenizer *t, struct mq_spm_bpe *b, const char *text,
                          size_t n)
{
    b->symbol_count = 0;
    for (size_t at = 0, size; at < n; at += size) {
        uint32_t code;
        const size_t user = mq_piece_trie_longest(&t->scored->user, text + at, n - at);
        size = user ? user : mq_utf8_next(text + at, &code);
        if (!make_room((void **)&b->symbols, b->symbol_count, &b->symbol_capacity,
                       sizeof *b->symbols))
            return false;
        const int32_t i = (int32_t)b->symbol_count++;
        b->symbols[i] =
            (struct symbol){at, (uint32_t)size, i - 1, at + size < n ? i + 1 : -1, user > 0};
    }
    return true;
}

static bool join_symbols(const struct mq_tokenizer *t, struct mq_spm_bpe *b, const char *text)
{
    b->heap_count = 0;
    for (int32_t i = 1; i < (int32_t)b->symbol_count; i++)
        if (!consider(t, b, text, i - 1, i))
            return false;
    while (b->heap_count) {
        const struct candidate c = pop_candidate(b);
        struct symbol *left = &b->symbols[c.left], *right = &b->symbols[c.right];
        if (!left->size || !right->size || left->size + right->size != c.size)
            continue;
        left->size = c.size;
        left->next = right->next;
        if (right->next >= 0)
            b->symbols[right->next].prev = c.left;
        right->size = 0;
        if (!consider(t, b, text, left->prev, c.left) || !consider(t, b, text, c.left, left->next))
            return false;
    }
    return true;
}

/* Puts a piece, or the parts of an UNUSED one. The recursion is as deep as a piece is long, of
 * which MQ_MAX_CONTENT is the limit. */
// NOLINTNEXTLINE(misc-no-recursion): MQ_MAX_CONTENT
static bool put_parts(const struct mq_tokenizer *t, const struct mq_spm_bpe *b, const char *text,
                      size_t n, struct mq_piece_sink *sink)
{
    uint32_t id;
    if (n > MQ_MAX_CONTENT || !mq_strmap_get(&t->vocab, text, n, &id))
        id = (uint32_t)t->unk_id;
    if (mq_piece_type(t->scored, (int32_t)id) != MQ_PIECE_UNUSED)
        return sink->put(sink, text, n, (int32_t)id);
    if (!b->parts || b->parts[id].call != b->call) /* one character: as if it were no piece */
        return sink->put(sink, text, n, t->unk_id);
    const size_t left = b->parts[id].left_size;
    return put_parts(t, b, text, left, sink) && put_parts(t, b, text + left, n - left, sink);
}

bool mq_spm_bpe_segment(const struct mq_tokenizer *t, struct mq_spm_bpe *b, const char *text,
                        size_t n, struct mq_piece_sink *sink)
{
    if (t->scored->has_unused && !b->parts) {
        b->parts = calloc(t->scored->count, sizeof *b->parts);
        if (!b->parts)
            return false;
    }
    b->call++;
    if (!split_symbols(t, b, text, n) || !join_symbols(t, b, text))
        return false;
    for (size_t i = 0; i < b->symbol_count; i++)
        if (b->symbols[i].size &&
            !put_parts(t, b, text + b->symbols[i].start, b->symbols[i].size, sink))
            return false;
    return true;
}
