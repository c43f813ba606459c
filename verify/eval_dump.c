/* eval_dump.c: the evaluator's callbacks, streamed into a safetensors file, of whichever process they are called in. */
#include "eval_dump.h"

#include "checked.h"
#include "error.h"
#include "ids_file.h"
#include "output_path.h"
#include "st_writer.h"
#include "written.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOGITS, EXPERTS, WEIGHTS, ROUTER_ENTRIES };

struct dump {
    const struct mq_hparams *hparams;
    struct mq_windows windows;
    int32_t *ids;
    struct mq_arena *arena;
    struct mq_st_entry *entries;
    size_t entries_count;
    size_t *router_entry; /* [layers]: its logits; experts and weights follow */
    size_t hidden_entry;  /* of layer 0; the others follow */
    struct mq_st_writer writer;
    struct mq_written written; /* of the entries */
};

/* ---- the output's tensors ---- */

static bool add_entry(struct dump *d, const char *name, enum mq_dtype dtype, uint32_t dims,
                      uint64_t a, uint64_t b, uint64_t c)
{
    d->entries[d->entries_count++] =
        (struct mq_st_entry){.name = name, .dtype = dtype, .dims = dims, .shape = {a, b, c}};
    return name != NULL;
}

static moeq_status plan_entries(const struct mq_view *view, bool hidden, struct dump *d,
                                moeq_error *err)
{
    const struct mq_hparams *hp = d->hparams;
    const uint64_t n = d->windows.count, t = d->windows.length;
    const size_t most = 1 + (size_t)hp->layers * ROUTER_ENTRIES + hp->layers + 1;
    d->entries = mq_arena_alloc(d->arena, most, sizeof *d->entries);
    d->router_entry = mq_arena_alloc(d->arena, hp->layers, sizeof *d->router_entry);
    if (!d->entries || !d->router_entry)
        return mq_fail_memory(err, "preparing a dump");
    bool ok = add_entry(d, "logits", MQ_F32, 3, n, t, hp->vocab);
    for (uint32_t l = 0; l < hp->layers; l++) {
        if (!mq_view_find(view, MQ_ROLE_ROUTER, (int32_t)l, -1))
            continue;
        const struct mq_layer_router *router = &view->program->layers[l]->layer.ffn.router;
        d->router_entry[l] = d->entries_count;
        ok = ok && add_entry(d, mq_arena_printf(d->arena, "router.%u.logits", l), MQ_F32, 2, n * t,
                             router->experts, 0);
        ok = ok && add_entry(d, mq_arena_printf(d->arena, "router.%u.experts", l), MQ_I32, 2, n * t,
                             router->top_k, 0);
        ok = ok && add_entry(d, mq_arena_printf(d->arena, "router.%u.weights", l), MQ_F32, 2, n * t,
                             router->top_k, 0);
    }
    d->hidden_entry = d->entries_count;
    for (uint32_t l = 0; hidden && l <= hp->layers; l++)
        ok = ok &&
             add_entry(d, mq_arena_printf(d->arena, "hidden.%u", l), MQ_F32, 3, n, t, hp->hidden);
    return ok ? MOEQ_OK : mq_fail_memory(err, "preparing a dump");
}

/* ---- callbacks ---- */

/* `tokens` rows of `width` 4-byte elements, from row first_token of an entry. */
static moeq_status put_rows(struct dump *d, size_t entry, size_t first_token, size_t tokens,
                            uint64_t width, const void *rows, moeq_error *err)
{
    const uint64_t at = first_token * width * 4, n = tokens * width * 4;
    MQ_TRY(mq_st_writer_put(&d->writer, entry, at, rows, n, err));
    return mq_written_add(&d->written, entry, at, NULL, n, err);
}

static moeq_status on_hidden(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const float *const *hidden, moeq_error *err)
{
    struct dump *d = user;
    return put_rows(d, d->hidden_entry + layer, first_token, tokens, d->hparams->hidden, hidden[0],
                    err);
}

static moeq_status on_router(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const struct mq_routes *routes, moeq_error *err)
{
    struct dump *d = user;
    const uint32_t experts = routes->router->experts, top_k = routes->router->top_k;
    const size_t entry = d->router_entry[layer];
    MQ_TRY(put_rows(d, entry + LOGITS, first_token, tokens, experts, routes->logits, err));
    MQ_TRY(put_rows(d, entry + EXPERTS, first_token, tokens, top_k, routes->experts, err));
    return put_rows(d, entry + WEIGHTS, first_token, tokens, top_k, routes->weights, err);
}

static moeq_status on_logits(void *user, const size_t *token_index, size_t tokens,
                             const float *const *logits, moeq_error *err)
{
    struct dump *d = user;
    const size_t vocab = d->hparams->vocab;
    for (size_t i = 0, run; i < tokens; i += run) { /* runs of neighbours in one write */
        run = 1;
        while (i + run < tokens && token_index[i + run] == token_index[i] + run)
            run++;
        MQ_TRY(put_rows(d, 0, token_index[i], run, vocab, logits[0] + i * vocab, err));
    }
    return MOEQ_OK;
}

/* ---- the whole ---- */

/* Whether all that was to come has come, from whichever process. */
static moeq_status check_whole(struct dump *d, const struct mq_peers *peers, moeq_error *err)
{
    uint32_t crc;
    MQ_TRY(mq_written_gather(&d->written, peers, err));
    for (size_t i = 0; i < d->entries_count; i++) {
        const struct mq_st_entry *e = &d->entries[i];
        if (!mq_written_whole(&d->written, i, e->size_bytes, &crc))
            return mq_fail_tensor(err, MOEQ_IO, d->writer.file.path, e->name, e->offset,
                                  "not all of its %" PRIu64 " bytes came, each once",
                                  e->size_bytes);
    }
    return MOEQ_OK;
}

moeq_status mq_eval_dump(const struct mq_context *context, const struct mq_view *view,
                         const struct mq_dump_options *options, struct mq_dump_result *result,
                         moeq_error *err)
{
    struct dump d = {
        .hparams = &view->hparams, .arena = mq_arena_create(), .writer = {.file = {.fd = -1}}};
    const struct mq_arm arm = {
        .name = "model", .view = view, .routes_from = -1, .compute = options->compute};
    const struct mq_observer observer = {.user = &d,
                                         .on_hidden = options->hidden ? on_hidden : NULL,
                                         .on_router = on_router,
                                         .on_logits = on_logits};
    const char *const metadata[] = {"producer", "moeq " MOEQ_VERSION_STRING, "compute",
                                    mq_compute_name(options->compute), NULL};
    struct mq_file ids_file;
    moeq_status status = MOEQ_OK;
    if (!d.arena) {
        status = mq_fail_memory(err, "preparing a dump");
        goto out;
    }
    MQ_TRY_OUT(mq_ids_file_read(options->ids_path, d.hparams->vocab, d.arena, &d.windows, &d.ids,
                                &ids_file, err));
    MQ_TRY_OUT(mq_refuse_output(view, &ids_file, options->output_path, err));
    MQ_TRY_OUT(plan_entries(view, options->hidden, &d, err));
    MQ_TRY_OUT(mq_st_writer_open(&d.writer, options->output_path, d.entries, d.entries_count,
                                 metadata, context->peers, err));
    MQ_TRY_OUT(mq_evaluate(context, &arm, 1, &d.windows, &observer, err));
    MQ_TRY_OUT(check_whole(&d, context->peers, err));
    MQ_TRY_OUT(mq_st_writer_finish(&d.writer, err));
    *result = (struct mq_dump_result){d.windows.count, d.windows.length, d.writer.file_bytes};
out:
    mq_st_writer_abort(&d.writer);
    mq_written_free(&d.written);
    free(d.ids);
    mq_arena_destroy(d.arena);
    return status;
}
