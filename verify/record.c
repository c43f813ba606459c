/*
 * record.c: one evaluation of the original, streamed to disk.
 *
 * All sizes are known before it starts, so the file is laid out, reserved and written at offsets.
 * Whoever runs a layer for some tokens, of several processes perhaps, writes their rows at their places; the CRC-32s of
 * these pieces make up the tensors'.
 */
#include "record.h"

#include "checked.h"
#include "error.h"
#include "family.h"
#include "json.h"
#include "linear.h"
#include "model_card.h"
#include "moeq_profile.h"
#include "open_options.h"
#include "output_path.h"
#include "st_writer.h"
#include "text_match.h"
#include "tokenizer.h"
#include "written.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { COPY_BYTES = 4 << 20 }; /* of weights at a time */

struct recorder {
    const struct mq_context *context;
    const struct mq_view *view;
    struct mq_arena *arena;
    struct mq_layout layout;
    struct mq_st_writer writer;
    struct mq_written written; /* of the layout's items */
    size_t first_token;        /* of what is evaluated, behind all that was before */
    /* [sources]: item of the layout; by MQ_RECORDING_* and, for routers, layer; then config.json,
     * text, vectors by their number, and the tasks' sequences */
    size_t *item;
    struct mq_buffer text;
    size_t *domain_bytes;            /* of it, of each domain */
    const struct mq_task_set *tasks; /* NULL: none */
};

/* ---- layout ---- */

static size_t sources_of(const struct mq_view *view)
{
    return MQ_RECORDING_ROUTERS + (size_t)view->hparams.layers + 2 + mq_recorded_vectors(view) + 2;
}

uint64_t mq_record_token_bytes(const struct mq_view *view)
{
    uint64_t values = 1 + (uint64_t)view->hparams.hidden;
    for (uint32_t layer = 0; layer < view->hparams.layers; layer++)
        values += mq_recorded_experts(view, layer);
    return 4 * values;
}

static const struct mq_tensor *find_head(const struct mq_view *view)
{
    return mq_view_find(view, view->hparams.tied_head ? MQ_ROLE_EMBEDDING : MQ_ROLE_HEAD, -1, -1);
}

/* The dtype that a tensor is recorded in: its own, or F32 for what is stored in blocks. */
static enum mq_dtype recorded_dtype(const struct mq_tensor *tensor)
{
    for (int d = 0; d < MQ_DTYPE_COUNT; d++) {
        const char *storage = mq_dtype_storage((enum mq_dtype)d);
        if (storage && strcmp(storage, tensor->storage) == 0)
            return (enum mq_dtype)d;
    }
    return MQ_F32;
}

const struct mq_level *mq_record_head_level(const struct mq_view *view, enum mq_compute compute)
{
    const struct mq_level *level = mq_level_find(find_head(view)->storage);
    return compute == MQ_COMPUTE_INT8 && level && level->unpack[0] ? level : NULL;
}

moeq_status mq_record_layout(const struct mq_view *view, enum mq_compute compute, uint64_t windows,
                             uint64_t window_tokens, uint64_t text_bytes,
                             const struct mq_task_set *tasks, const char *const *metadata,
                             struct mq_arena *arena, struct mq_layout *layout, moeq_error *err)
{
    const struct mq_hparams *hp = &view->hparams;
    const struct mq_level *blocks = mq_record_head_level(view, compute);
    uint64_t tokens;
    struct mq_layout_item *items =
        mq_arena_alloc(arena, sources_of(view), sizeof *items);
    if (!items)
        return mq_fail_memory(err, "preparing a recording");
    if (!mq_mul_u64(windows, window_tokens, &tokens) ||
        (tasks && !mq_add_u64(tokens, tasks->windows * tasks->length, &tokens)))
        return mq_fail(err, MOEQ_LIMIT, "too many tokens for a file");
    items[MQ_RECORDING_IDS] = (struct mq_layout_item){
        .name = "input_ids", .dtype = MQ_I32, .dims = 2, .shape = {windows, window_tokens}};
    items[MQ_RECORDING_NORM] = (struct mq_layout_item){
        .name = "output_norm",
        .dtype = recorded_dtype(mq_view_find(view, MQ_ROLE_OUTPUT_NORM, -1, -1)),
        .dims = 1,
        .shape = {hp->hidden}};
    items[MQ_RECORDING_HEAD] = (struct mq_layout_item){
        .name = "head",
        .dtype = blocks ? MQ_U8 : recorded_dtype(find_head(view)),
        .dims = 2,
        .shape = {hp->vocab, blocks ? mq_level_row_bytes(blocks, hp->hidden) : hp->hidden},
        .aligned = true};
    items[MQ_RECORDING_HIDDEN] = (struct mq_layout_item){.name = "hidden",
                                                         .dtype = MQ_F32,
                                                         .dims = 2,
                                                         .shape = {tokens, hp->hidden},
                                                         .aligned = true};
    size_t n = MQ_RECORDING_ROUTERS;
    bool ok = true;
    for (uint32_t layer = 0; layer < hp->layers; layer++) {
        if (!mq_recorded_experts(view, layer))
            continue;
        items[n] = (struct mq_layout_item){.name = mq_arena_printf(arena, "router.%u", layer),
                                           .dtype = MQ_F32,
                                           .dims = 2,
                                           .shape = {tokens, mq_recorded_experts(view, layer)}};
        ok = ok && items[n++].name;
    }
    items[n++] = (struct mq_layout_item){.name = "config.json",
                                         .dtype = MQ_U8,
                                         .dims = 1,
                                         .shape = {view->side[MQ_SIDE_CONFIG].size}};
    items[n++] =
        (struct mq_layout_item){.name = "text", .dtype = MQ_U8, .dims = 1, .shape = {text_bytes}};
    for (size_t i = 0; i < mq_recorded_vectors(view); i++) {
        struct mq_recorded_vector v;
        if (!mq_recorded_vector(view, i, &v))
            continue;
        const struct mq_tensor *t = mq_view_find(view, v.role, v.layer, -1);
        items[n] = (struct mq_layout_item){.name = mq_arena_strdup(arena, v.name),
                                           .dtype = recorded_dtype(t),
                                           .dims = 1,
                                           .shape = {t->cols}};
        ok = ok && items[n++].name;
    }
    if (!ok)
        return mq_fail_memory(err, "preparing a recording");
    if (tasks) {
        items[n++] =
            (struct mq_layout_item){.name = "task_sequences",
                                    .dtype = MQ_I32,
                                    .dims = 2,
                                    .shape = {tasks->sequences_count, MQ_RECORDED_SEQUENCE}};
        items[n++] = (struct mq_layout_item){.name = "task_ids",
                                             .dtype = MQ_I32,
                                             .dims = 2,
                                             .shape = {tasks->windows, tasks->length}};
    }
    return mq_layout_build(items, n, metadata, arena, layout, err);
}

/* ---- what the file says of itself ---- */

bool mq_tokenizer_fingerprint(const struct mq_view *view, uint32_t *crc)
{
    const struct mq_buffer *json = &view->side[MQ_SIDE_TOKENIZER];
    *crc = json->size ? (uint32_t)crc32_z(0, (const Bytef *)json->data, json->size) : 0;
    return json->size > 0;
}

/* Names of files may be any bytes, JSON may not. */
static void put_name(struct mq_buffer *b, const char *path)
{
    const char *name = mq_base_name(path);
    size_t bad;
    if (!mq_utf8_valid(name, strlen(name), &bad))
        name = "?";
    mq_buffer_put_json(b, name, strlen(name));
}

/* Of several texts the names joined, each without its folder. */
static void put_text_name(struct mq_buffer *b, const struct mq_text *text)
{
    struct mq_buffer names = {0};
    for (size_t i = 0; i < text->count; i++)
        mq_buffer_printf(&names, "%s%s", i ? " + " : "", mq_base_name(text->sources[i].name));
    mq_buffer_putc(&names, '\0');
    if (mq_buffer_ok(&names))
        put_name(b, names.data);
    else
        b->failed = true;
    mq_buffer_free(&names);
}

/* What cards call the original: of the Hub's cache the repository, else the path's last name; neither has a folder. */
static moeq_status put_model_name(struct mq_buffer *b, const char *path, moeq_error *err)
{
    struct mq_model_card card;
    char name[PATH_MAX];
    MQ_TRY(mq_model_card_read(path, &card, err));
    snprintf(name, sizeof name, "%s", card.repository[0] ? card.repository : path);
    for (size_t n = strlen(name); n > 1 && name[n - 1] == '/'; n--)
        name[n - 1] = '\0';
    const char *base = mq_base_name(name);
    if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return MOEQ_OK;
    mq_buffer_puts(b, ",\"model\":");
    put_name(b, base);
    return MOEQ_OK;
}

static void print_sources(const struct mq_view *view, struct mq_buffer *b)
{
    for (size_t i = 0; i < view->files_count; i++) {
        mq_buffer_puts(b, i ? ",{\"name\":" : "[{\"name\":");
        put_name(b, view->files[i].name);
        mq_buffer_printf(b, ",\"bytes\":%" PRIu64 ",\"header_crc32\":\"%08" PRIx32 "\"}",
                         view->files[i].file.size_bytes, view->files[i].header_crc32);
    }
    mq_buffer_putc(b, ']');
}

/* What the windows are of; domain_bytes: of the recorded text. */
static void print_domains(const struct mq_text_windows *text, const size_t *domain_bytes,
                          struct mq_buffer *b)
{
    for (size_t i = 0; i < text->domains_count; i++) {
        const struct mq_text_domain *d = &text->domains[i];
        mq_buffer_puts(b, i ? "," : ",\"domains\":[");
        mq_buffer_puts(b, "{\"name\":");
        mq_buffer_put_json(b, d->name, strlen(d->name));
        mq_buffer_printf(b, ",\"windows\":%zu,\"tokens\":%zu,\"bytes\":%zu}%s", d->windows,
                         d->text_tokens, domain_bytes[i], i + 1 == text->domains_count ? "]" : "");
    }
}

static void print_tasks(const struct mq_text_windows *text, struct mq_buffer *b)
{
    const struct mq_task_set *set = text->tasks;
    if (!set)
        return;
    mq_buffer_puts(b, ",\"tasks\":[");
    for (size_t i = 0; i < set->groups_count; i++) {
        mq_buffer_puts(b, i ? ",{\"name\":" : "{\"name\":");
        mq_buffer_put_json(b, set->groups[i].name, strlen(set->groups[i].name));
        mq_buffer_printf(b, ",\"count\":%zu}", set->groups[i].count);
    }
    mq_buffer_putc(b, ']');
}

/* The run as JSON; verify reads all of it but the text's bytes and CRC, which are for people. */
static moeq_status print_run(const struct mq_view *view, const struct mq_record_options *options,
                             const struct mq_text_windows *text, const size_t *domain_bytes,
                             struct mq_buffer *b, moeq_error *err)
{
    const struct mq_level *blocks = mq_record_head_level(view, options->compute);
    const struct mq_stored_size size = mq_stored_size(view);
    uint32_t tokenizer;
    mq_buffer_puts(b, "{\"text\":");
    put_text_name(b, options->text);
    mq_buffer_printf(b, ",\"text_bytes\":%" PRIu64 ",\"text_crc32\":\"%08" PRIx32 "\"",
                     (uint64_t)options->text->size,
                     (uint32_t)crc32_z(0, (const Bytef *)options->text->data, options->text->size));
    mq_buffer_printf(b, ",\"text_tokens\":%zu,\"protocol\":\"%s\",\"context\":%zu",
                     text->text_tokens, mq_protocol_name(text->protocol), text->windows.length);
    if (text->bos >= 0)
        mq_buffer_printf(b, ",\"bos\":%d", text->bos);
    mq_buffer_printf(b, ",\"token_ids_crc32\":\"%08" PRIx32 "\"", text->ids_crc32);
    MQ_TRY(put_model_name(b, view->path, err));
    if (mq_tokenizer_fingerprint(view, &tokenizer))
        mq_buffer_printf(b, ",\"tokenizer_crc32\":\"%08" PRIx32 "\"", tokenizer);
    mq_buffer_printf(b, ",\"compute\":\"%s\"", mq_compute_name(options->compute));
    print_domains(text, domain_bytes, b);
    print_tasks(text, b);
    if (blocks)
        mq_buffer_printf(b, ",\"head_level\":\"%s\"", blocks->name);
    mq_buffer_printf(
        b, ",\"weights\":%" PRIu64 ",\"weight_bytes\":%" PRIu64 ",\"file_bytes\":%" PRIu64 "}",
        size.weights, size.weight_bytes, size.file_bytes);
    return MOEQ_OK;
}

static moeq_status lay_out(struct recorder *r, const struct mq_record_options *options,
                           const struct mq_text_windows *text, moeq_error *err)
{
    const struct mq_view *view = r->view;
    struct mq_buffer source = {0}, run = {0};
    moeq_status status;
    print_sources(view, &source);
    MQ_TRY_OUT(print_run(view, options, text, r->domain_bytes, &run, err));
    if (!mq_buffer_ok(&source) || !mq_buffer_ok(&run)) {
        status = mq_fail_memory(err, "preparing a recording");
        goto out;
    }
    bool no_memory[2];
    const char *const choices = mq_view_options_json(view, r->arena, &no_memory[0]);
    const char *const notes = mq_view_notes_text(view, NULL, r->arena, &no_memory[1]);
    if (no_memory[0] || no_memory[1]) {
        status = mq_fail_memory(err, "preparing a recording");
        goto out;
    }
    const char *metadata[17] = {
        MQ_META_FORMAT,
        MQ_RECORDING_FORMAT,
        MQ_RECORDING_META_VERSION,
        text->tasks ? MQ_RECORDING_VERSION_TASKS : MQ_RECORDING_VERSION,
        MQ_RECORDING_META_PRODUCER,
        "moeq " MOEQ_VERSION_STRING,
        MQ_RECORDING_META_FAMILY,
        view->family->name,
        MQ_RECORDING_META_SOURCE,
        source.data,
        MQ_RECORDING_META_RUN,
        run.data,
    };
    const char *const optional[] = {MQ_META_OPTIONS, choices, MQ_META_NOTES, notes};
    for (size_t i = 0, n = 12; i < sizeof optional / sizeof *optional; i += 2)
        if (optional[i + 1]) {
            metadata[n++] = optional[i];
            metadata[n++] = optional[i + 1];
        }
    r->tasks = text->tasks;
    MQ_TRY_OUT(mq_record_layout(view, options->compute, text->windows.count, text->windows.length,
                                r->text.size, text->tasks, metadata, r->arena, &r->layout, err));
    r->item = mq_arena_alloc(r->arena, sources_of(view), sizeof *r->item);
    if (!r->item)
        status = mq_fail_memory(err, "preparing a recording");
out:
    mq_buffer_free(&source);
    mq_buffer_free(&run);
    return status;
}

/* Whether there is an item for a source: see `item`. */
static bool is_recorded(const struct recorder *r, size_t source)
{
    const struct mq_view *view = r->view;
    const size_t others = MQ_RECORDING_ROUTERS + (size_t)view->hparams.layers;
    struct mq_recorded_vector v;
    if (source < MQ_RECORDING_ROUTERS || source == others || source == others + 1)
        return true;
    if (source + 2 >= sources_of(view))
        return r->tasks != NULL;
    return source < others
               ? mq_recorded_experts(view, (uint32_t)(source - MQ_RECORDING_ROUTERS)) > 0
               : mq_recorded_vector(view, source - others - 2, &v);
}

/* Where each source is: the layout has those that there are, in their order. */
static void index_items(struct recorder *r)
{
    size_t source = 0;
    for (size_t i = 0; i < r->layout.count; i++) {
        if (r->layout.items[i].source < 0)
            continue;
        while (!is_recorded(r, source))
            source++;
        r->item[source++] = i;
    }
}

/* ---- writing ---- */

/* n bytes of an item, from byte `at` of it. */
static moeq_status put(struct recorder *r, size_t source, uint64_t at, const void *bytes,
                       uint64_t n, moeq_error *err)
{
    const size_t i = r->item[source];
    const struct mq_layout_item *item = &r->layout.items[i];
    if (!mq_range_ok(at, n, item->size_bytes))
        return mq_fail_tensor(err, MOEQ_LIMIT, r->writer.file.path, item->name, item->offset,
                              "more than its %" PRIu64 " bytes came", item->size_bytes);
    MQ_TRY(mq_write_at(r->writer.file.fd, r->writer.file.part, item->offset + at, bytes, n, err));
    return mq_written_add(&r->written, i, at, bytes, n, err);
}

/* A tensor of the original: its bytes, where the item has their size; else the floats that its
 * blocks decode to. */
static moeq_status copy_weights(struct recorder *r, size_t source, const struct mq_tensor *tensor,
                                moeq_error *err)
{
    const struct mq_weights weights = {
        .view = r->view, .tensor = tensor, .storage = mq_level_find(tensor->storage)};
    const uint64_t item_bytes = r->layout.items[r->item[source]].size_bytes;
    const bool plain = item_bytes == tensor->rows * tensor->row_bytes;
    const uint64_t float_bytes = tensor->cols * sizeof(float);
    const uint64_t step = mq_max_u64(1, COPY_BYTES / mq_max_u64(float_bytes, tensor->row_bytes));
    uint8_t *bytes = malloc(step * tensor->row_bytes);
    float *rows = malloc(step * float_bytes);
    moeq_status status = MOEQ_OK;
    if (!bytes || !rows || !weights.storage)
        status = mq_fail_memory(err, "recording");
    for (uint64_t row = 0, n; row < tensor->rows && status == MOEQ_OK; row += n) {
        n = mq_min_u64(step, tensor->rows - row);
        /* also where the bytes are copied as they are: this refuses weights that are not finite */
        status = mq_weights_load(&weights, r->context->isa, row, n, bytes, rows, err);
        if (status == MOEQ_OK && plain)
            status = put(r, source, row * tensor->row_bytes, bytes, n * tensor->row_bytes, err);
        else if (status == MOEQ_OK)
            status = put(r, source, row * float_bytes, rows, n * float_bytes, err);
    }
    free(bytes);
    free(rows);
    return status;
}

/* Rows of `width` numbers, one of each token. */
static moeq_status put_rows(struct recorder *r, size_t source, size_t first_token, size_t tokens,
                            size_t width, const float *values, moeq_error *err)
{
    const size_t n = tokens * width;
    const size_t bad = mq_first_not_finite(r->context->isa, values, n);
    if (bad < n)
        return mq_fail(err, MOEQ_UNSUPPORTED,
                       "%s: %s: from token %zu on a value is not finite (%g): nothing to compare "
                       "with",
                       r->view->path, r->layout.items[r->item[source]].name, first_token,
                       (double)values[bad]);
    return put(r, source, (r->first_token + first_token) * width * sizeof(float), values,
               n * sizeof(float), err);
}

static moeq_status on_hidden(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const float *const *hidden, moeq_error *err)
{
    struct recorder *r = user;
    if (layer != r->view->hparams.layers)
        return MOEQ_OK;
    return put_rows(r, MQ_RECORDING_HIDDEN, first_token, tokens, r->view->hparams.hidden, hidden[0],
                    err);
}

static moeq_status on_router(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const struct mq_routes *routes, moeq_error *err)
{
    struct recorder *r = user;
    return put_rows(r, MQ_RECORDING_ROUTERS + layer, first_token, tokens,
                    mq_recorded_experts(r->view, layer), routes->logits, err);
}

/* The checksum tensor, of what all processes have written. Padding was reserved as zeros. */
static moeq_status write_checksums(struct recorder *r, moeq_error *err)
{
    static const unsigned char zeros[MQ_GROUP_ALIGN];
    const struct mq_layout *l = &r->layout;
    uint32_t *crcs = mq_arena_alloc(r->arena, l->count, sizeof *crcs);
    if (!crcs)
        return mq_fail_memory(err, "writing the checksums");
    MQ_TRY(mq_written_gather(&r->written, r->context->peers, err));
    for (size_t i = 0; i < l->count - 1; i++) {
        const struct mq_layout_item *item = &l->items[i];
        if (item->source < 0)
            crcs[i] = (uint32_t)crc32_z(0, zeros, item->size_bytes);
        else if (!mq_written_whole(&r->written, i, item->size_bytes, &crcs[i]))
            return mq_fail_tensor(err, MOEQ_IO, r->writer.file.path, item->name, item->offset,
                                  "not all of its %" PRIu64 " bytes came, each once",
                                  item->size_bytes);
    }
    return mq_peers_first(r->context->peers)
               ? mq_layout_write_crcs(l, crcs, r->writer.file.fd, r->writer.file.part, NULL, err)
               : MOEQ_OK;
}

/* A row each: see record.h. */
static moeq_status write_sequences(struct recorder *r, const struct mq_task_set *set,
                                   moeq_error *err)
{
    uint64_t at = 0;
    for (size_t t = 0; t < set->tasks_count; t++)
        for (uint32_t c = 0; c < set->tasks[t].choices; c++) {
            const struct mq_task_sequence *s = &set->sequences[set->tasks[t].first + c];
            const int32_t row[MQ_RECORDED_SEQUENCE] = {
                (int32_t)s->window, (int32_t)s->from,
                (int32_t)s->end,    s->last,
                (int32_t)s->bytes,  c ? -1 : (int32_t)set->tasks[t].answer};
            MQ_TRY(put(r, sources_of(r->view) - 2, at, row, sizeof row, err));
            at += sizeof row;
        }
    return put(r, sources_of(r->view) - 1, 0, set->ids,
               set->windows * set->length * sizeof *set->ids, err);
}

/* Everything but the states, which the evaluation brings; the first process does so. */
static moeq_status write_fixed(struct recorder *r, const struct mq_text_windows *text,
                               moeq_error *err)
{
    const struct mq_view *view = r->view;
    const uint64_t ids = text->windows.count * text->windows.length;
    if (!mq_peers_first(r->context->peers))
        return MOEQ_OK;
    MQ_TRY(put(r, MQ_RECORDING_IDS, 0, text->windows.ids, ids * sizeof(int32_t), err));
    MQ_TRY(
        copy_weights(r, MQ_RECORDING_NORM, mq_view_find(view, MQ_ROLE_OUTPUT_NORM, -1, -1), err));
    MQ_TRY(copy_weights(r, MQ_RECORDING_HEAD, find_head(view), err));
    MQ_TRY(put(r, MQ_RECORDING_ROUTERS + view->hparams.layers, 0, view->side[MQ_SIDE_CONFIG].data,
               view->side[MQ_SIDE_CONFIG].size, err));
    const size_t text_source = MQ_RECORDING_ROUTERS + (size_t)view->hparams.layers + 1;
    MQ_TRY(put(r, text_source, 0, r->text.data, r->text.size, err));
    for (size_t i = 0; i < mq_recorded_vectors(view); i++) {
        struct mq_recorded_vector v;
        if (mq_recorded_vector(view, i, &v))
            MQ_TRY(copy_weights(r, text_source + 1 + i, mq_view_find(view, v.role, v.layer, -1),
                                err));
    }
    return text->tasks ? write_sequences(r, text->tasks, err) : MOEQ_OK;
}

/* ---- the text ---- */

/* A text and its windows: all, or a domain's. */
struct part {
    struct mq_text source;
    const int32_t *ids;
    size_t used, length; /* tokens of all windows, of one */
    bool bos;            /* replaced the first one of each */
};

/* Whether the first n bytes give the ids of the windows, but for those that BOS replaced. */
static moeq_status gives_windows(const struct recorder *r, const struct part *part, size_t n,
                                 bool *yes, moeq_error *err)
{
    struct mq_ids ids;
    int32_t bos;
    struct mq_text start = part->source;
    start.size = n;
    MQ_TRY(mq_tokenize_text(r->view, &start, &ids, &bos, err));
    *yes = ids.size >= part->used;
    for (size_t i = 0; i < part->used && *yes; i++)
        *yes = ids.data[i] == part->ids[i] || (part->bos && i % part->length == 0);
    mq_ids_free(&ids);
    return MOEQ_OK;
}

/* As much of the text as its windows need: whole lines, twice as many until the ids are theirs. */
static moeq_status keep_part(struct recorder *r, const struct part *part, moeq_error *err)
{
    enum { BYTES_PER_TOKEN = 6 }; /* at first; of English text a token has four or five */
    const struct mq_text *source = &part->source;
    size_t n = BYTES_PER_TOKEN * part->used;
    for (bool enough = false; n < source->size && !enough;) {
        const char *line = memchr(source->data + n, '\n', source->size - n);
        n = line ? (size_t)(line - source->data) + 1 : source->size;
        MQ_TRY(gives_windows(r, part, n, &enough, err));
        n = enough ? n : 2 * n;
    }
    mq_buffer_append(&r->text, source->data, n < source->size ? n : source->size);
    return mq_buffer_ok(&r->text) ? MOEQ_OK : mq_fail_memory(err, "preparing a recording");
}

static moeq_status keep_text(struct recorder *r, const struct mq_text *source,
                             const struct mq_text_windows *text, moeq_error *err)
{
    const size_t n = text->domains_count, length = text->windows.length;
    r->domain_bytes = mq_arena_alloc(r->arena, n + 1, sizeof *r->domain_bytes);
    if (!r->domain_bytes)
        return mq_fail_memory(err, "preparing a recording");
    for (size_t i = 0; i < (n ? n : 1); i++) {
        const size_t first = n ? text->domains[i].first_window : 0, before = r->text.size;
        const size_t windows = n ? text->domains[i].windows : text->windows.count;
        const struct part part = {mq_text_domain(source, i), text->ids + first * length,
                                  windows * length, length, text->bos >= 0};
        MQ_TRY(keep_part(r, &part, err));
        r->domain_bytes[i] = r->text.size - before;
    }
    return MOEQ_OK;
}

/* Neither the model nor one of the texts may be written over. */
static moeq_status refuse_output(const struct mq_view *view,
                                 const struct mq_record_options *options, moeq_error *err)
{
    for (size_t i = 0; i < options->text->count; i++) {
        const struct mq_text_source *s = &options->text->sources[i];
        const struct mq_file file = {.device = s->device, .inode = s->inode};
        MQ_TRY(mq_refuse_output(view, &file, options->output_path, err));
    }
    return MOEQ_OK;
}

moeq_status mq_record(const struct mq_context *context, const struct mq_view *view,
                      const struct mq_record_options *options, struct mq_record_result *result,
                      moeq_error *err)
{
    struct recorder r = {.context = context,
                         .view = view,
                         .arena = mq_arena_create(),
                         .writer = {.file = {.fd = -1}}};
    const struct mq_arm arm = {
        .name = "model", .view = view, .routes_from = -1, .compute = options->compute};
    const struct mq_observer observer = {
        .user = &r, .on_hidden = on_hidden, .on_router = on_router};
    struct mq_text_windows text = {0};
    moeq_status status;
    if (!r.arena) {
        status = mq_fail_memory(err, "preparing a recording");
        goto out;
    }
    MQ_TRY_OUT(refuse_output(view, options, err));
    MQ_TRY_OUT(mq_refuse_existing(options->output_path, options->replace, err));
    MQ_TRY_OUT(mq_protocol_text(&options->protocol, view, options->text, &text, err));
    MQ_TRY_OUT(keep_text(&r, options->text, &text, err));
    MQ_TRY_OUT(lay_out(&r, options, &text, err));
    index_items(&r);
    MQ_TRY_OUT(mq_st_writer_open_raw(&r.writer, options->output_path, r.layout.header,
                                     r.layout.header_bytes, r.layout.file_bytes, mq_view_mode(view),
                                     context->peers, err));
    MQ_TRY_OUT(write_fixed(&r, &text, err));
    MQ_TRY_OUT(mq_evaluate(context, &arm, 1, &text.windows, &observer, err));
    if (text.tasks) { /* whose states go on behind the text's */
        const struct mq_windows windows = mq_task_windows(text.tasks);
        r.first_token = text.windows.count * text.windows.length;
        MQ_TRY_OUT(mq_evaluate(context, &arm, 1, &windows, &observer, err));
    }
    MQ_TRY_OUT(write_checksums(&r, err));
    MQ_TRY_OUT(mq_st_writer_finish(&r.writer, err));
    *result = (struct mq_record_result){.windows = text.windows.count,
                                        .window_tokens = text.windows.length,
                                        .file_bytes = r.layout.file_bytes,
                                        .token_bytes = mq_record_token_bytes(view)};
out:
    mq_st_writer_abort(&r.writer);
    mq_text_windows_free(&text);
    mq_buffer_free(&r.text);
    mq_written_free(&r.written);
    mq_arena_destroy(r.arena);
    return status;
}
