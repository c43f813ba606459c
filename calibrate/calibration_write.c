/* calibration_write.c: see calibration_write.h. */
#include "calibration_write.h"

#include "checked.h"
#include "error.h"
#include "family.h"
#include "moeq_profile.h"
#include "open_options.h"
#include "scratch_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { SUMS_WORDS = sizeof(struct mq_calibration_sums) / sizeof(int64_t) };

/* ---- what the file says of itself ---- */

static int by_name(const void *a, const void *b)
{
    const struct mq_calibration_text *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    return order ? order : (x->ids_crc32 > y->ids_crc32) - (x->ids_crc32 < y->ids_crc32);
}

static void print_texts(const struct mq_calibration *c, struct mq_buffer *b)
{
    for (size_t i = 0; i < c->texts_count; i++) {
        const struct mq_calibration_text *t = &c->texts[i];
        mq_buffer_puts(b, i ? ",{\"name\":" : "[{\"name\":");
        mq_buffer_put_json(b, t->name, strlen(t->name));
        mq_buffer_printf(b,
                         ",\"tokens\":%" PRIu64 ",\"context\":%" PRIu64 ",\"bytes\":%" PRIu64
                         ",\"crc32\":\"%08" PRIx32 "\",\"token_ids_crc32\":\"%08" PRIx32 "\"",
                         t->tokens, t->context, t->bytes, t->crc32, t->ids_crc32);
        if (t->profile)
            mq_buffer_printf(b, ",\"common\":%.4f,\"profile\":\"%s\"", t->common, t->profile);
        mq_buffer_puts(b, "}");
    }
    mq_buffer_puts(b, "]");
}

static void print_model(const struct mq_calibration *c, struct mq_buffer *b)
{
    mq_buffer_puts(b, "{\"name\":");
    mq_buffer_put_json(b, c->model_name, strlen(c->model_name));
    mq_buffer_printf(b, ",\"fingerprint\":\"%08" PRIx32 "\"}", c->fingerprint);
}

/* ---- layout ---- */

static moeq_status list_items(struct mq_calibration_writer *w, struct mq_layout_item *items,
                              size_t *count, moeq_error *err)
{
    const struct mq_calibration_groups *groups = &w->calibration.groups;
    size_t n = 0;
    bool ok = true;
    for (size_t i = 0; i < groups->count; i++) {
        const struct mq_calibration_group *g = &groups->all[i];
        const char *role = mq_role_name(g->role);
        items[n] = (struct mq_layout_item){
            .name = mq_arena_printf(w->arena, "%s.%" PRId32 ".sums", role, g->layer),
            .dtype = MQ_I64,
            .dims = 2,
            .shape = {g->experts, SUMS_WORDS}};
        ok = ok && items[n++].name;
        if (g->inputs != i)
            continue;
        items[n] = (struct mq_layout_item){
            .name = mq_arena_printf(w->arena, "%s.%" PRId32 ".in_sum2", role, g->layer),
            .dtype = MQ_I64,
            .dims = 2,
            .shape = {g->experts, 2 * g->cols}};
        ok = ok && items[n++].name;
    }
    items[n++] = (struct mq_layout_item){.name = "config.json",
                                         .dtype = MQ_U8,
                                         .dims = 1,
                                         .shape = {w->calibration.view->side[MQ_SIDE_CONFIG].size}};
    *count = n;
    return ok ? MOEQ_OK : mq_fail_memory(err, "preparing a calibration");
}

/* Offsets of the groups, whose items are in the file in the order of list_items. */
static void place_groups(struct mq_calibration_writer *w)
{
    const struct mq_calibration_groups *groups = &w->calibration.groups;
    const struct mq_layout_item *item = w->layout.items;
    for (size_t i = 0; i < groups->count; i++) {
        struct mq_calibration_group *g = &groups->all[i];
        g->sums_offset = item++->offset;
        if (g->inputs == i)
            g->columns_offset = item++->offset;
    }
    for (size_t i = 0; i < groups->count; i++)
        groups->all[i].columns_offset = groups->all[groups->all[i].inputs].columns_offset;
}

static moeq_status lay_out(struct mq_calibration_writer *w, moeq_error *err)
{
    const struct mq_calibration *c = &w->calibration;
    struct mq_buffer model = {0}, texts = {0};
    bool no_memory;
    size_t count;
    moeq_status status;
    struct mq_layout_item *items = mq_arena_alloc(w->arena, 2 * c->groups.count + 1, sizeof *items);
    const char *const options = mq_view_options_json(c->view, w->arena, &no_memory);
    print_model(c, &model);
    print_texts(c, &texts);
    if (!items || no_memory || !mq_buffer_ok(&model) || !mq_buffer_ok(&texts)) {
        status = mq_fail_memory(err, "preparing a calibration");
        goto out;
    }
    const char *const metadata[] = {MQ_META_FORMAT,
                                    MQ_CALIBRATION_FORMAT,
                                    MQ_CALIBRATION_META_VERSION,
                                    MQ_CALIBRATION_VERSION,
                                    MQ_CALIBRATION_META_PRODUCER,
                                    "moeq " MOEQ_VERSION_STRING,
                                    MQ_CALIBRATION_META_FAMILY,
                                    c->view->family->name,
                                    MQ_CALIBRATION_META_MODEL,
                                    model.data,
                                    MQ_CALIBRATION_META_TEXTS,
                                    texts.data,
                                    options ? MQ_META_OPTIONS : NULL,
                                    options,
                                    NULL};
    MQ_TRY_OUT(list_items(w, items, &count, err));
    MQ_TRY_OUT(mq_layout_build(items, count, metadata, w->arena, &w->layout, err));
    place_groups(w);
out:
    mq_buffer_free(&model);
    mq_buffer_free(&texts);
    return status;
}

static moeq_status copy_origin(const struct mq_calibration_origin *origin,
                               struct mq_calibration_writer *w, moeq_error *err)
{
    struct mq_calibration *c = &w->calibration;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): sheds const
    c->view = (struct mq_view *)(uintptr_t)origin->view; /* is not changed */
    c->model_name = origin->model_name;
    c->fingerprint = origin->fingerprint;
    c->texts_count = origin->texts_count;
    c->texts = mq_arena_alloc(w->arena, c->texts_count + 1, sizeof *c->texts);
    if (!c->texts)
        return mq_fail_memory(err, "preparing a calibration");
    memcpy(c->texts, origin->texts, c->texts_count * sizeof *c->texts);
    qsort(c->texts, c->texts_count, sizeof *c->texts, by_name);
    return mq_calibration_groups(c->view, w->arena, &c->groups, err);
}

static moeq_status write_config(struct mq_calibration_writer *w, moeq_error *err)
{
    const struct mq_buffer *config = &w->calibration.view->side[MQ_SIDE_CONFIG];
    for (size_t i = 0; i < w->layout.count; i++)
        if (strcmp(w->layout.items[i].name, "config.json") == 0)
            return mq_write_at(w->writer.file.fd, w->writer.file.part, w->layout.items[i].offset,
                               config->data, config->size, err);
    return MOEQ_OK;
}

/* The file of the first process, */
static moeq_status create_file(struct mq_calibration_writer *w, const char *path, moeq_error *err)
{
    MQ_TRY(mq_st_writer_open_raw(&w->writer, path, w->layout.header, w->layout.header_bytes,
                                 w->layout.file_bytes, 0666, NULL, err));
    w->calibration.file = (struct mq_file){
        .fd = w->writer.file.fd, .size_bytes = w->layout.file_bytes, .path = w->writer.file.part};
    return write_config(w, err);
}

/* and of every other one: it takes no more room than what is written there. */
static moeq_status create_scratch(struct mq_calibration_writer *w, const char *folder,
                                  moeq_error *err)
{
    struct mq_file *file = &w->scratch;
    /* in memory, if it must be: it is small */
    if (!mq_scratch_file_open(folder, file) && !mq_scratch_file_open("/tmp", file))
        return mq_fail_file(err, MOEQ_IO, folder ? folder : "/tmp",
                            "there is no scratch file to be had here for a layer's sums (TMPDIR)");
    file->size_bytes = w->layout.file_bytes;
    w->calibration.file = *file;
    return MQ_AGAIN(ftruncate(file->fd, (off_t)file->size_bytes)) == 0
               ? MOEQ_OK
               : mq_fail_errno(err, file->path, "cannot set its size");
}

moeq_status mq_calibration_create(const struct mq_context *context,
                                  const struct mq_calibration_origin *origin, const char *path,
                                  struct mq_calibration_writer *w, moeq_error *err)
{
    moeq_status status;
    *w = (struct mq_calibration_writer)MQ_CALIBRATION_WRITER_NONE;
    w->arena = mq_arena_create();
    if (!w->arena) {
        status = mq_fail_memory(err, "preparing a calibration");
        goto out;
    }
    MQ_TRY_OUT(copy_origin(origin, w, err));
    MQ_TRY_OUT(lay_out(w, err));
    w->calibration.path = path;
    w->seen = mq_arena_alloc(w->arena, origin->view->hparams.layers, sizeof *w->seen);
    if (!w->seen)
        status = mq_fail_memory(err, "preparing a calibration");
    else if (mq_peers_first(context->peers))
        status = create_file(w, path, err);
    else
        status = create_scratch(w, context->scratch, err);
out:
    if (status != MOEQ_OK)
        mq_calibration_writer_free(w);
    return status;
}

/* ---- adding ---- */

moeq_status mq_calibration_put(struct mq_calibration_writer *w,
                               const struct mq_calibration_group *group, uint32_t expert,
                               const struct mq_calibration_sums *sums,
                               const struct mq_exact_sum *columns, struct mq_exact_sum *old,
                               moeq_error *err)
{
    const uint64_t bytes = mq_calibration_column_bytes(group);
    const struct mq_file *file = &w->calibration.file;
    struct mq_calibration_sums all;
    if (sums->tokens == 0) /* nothing was seen */
        return MOEQ_OK;
    w->seen[group->layer] = true;
    if (!mq_calibration_is_sound(sums))
        return mq_fail(err, MOEQ_LIMIT,
                       "%s of layer %d, expert %" PRIu32
                       ": the squares of its outputs are beyond what "
                       "sums hold: the model overflows on this text",
                       mq_role_name(group->role), group->layer, expert);
    MQ_TRY(mq_calibration_read(&w->calibration, group, expert, &all, columns ? old : NULL, err));
    bool fits = mq_calibration_add_sums(&all, sums);
    for (uint64_t i = 0; columns && i < group->cols; i++)
        fits = fits && mq_calibration_add(&old[i], &columns[i]);
    if (!fits)
        return mq_fail(err, MOEQ_LIMIT,
                       "%s of layer %d: the squares of its inputs are beyond what sums hold: the "
                       "model overflows on this text",
                       mq_role_name(group->role), group->layer);
    MQ_TRY(mq_write_at(file->fd, file->path, group->sums_offset + expert * sizeof all, &all,
                       sizeof all, err));
    if (!columns)
        return MOEQ_OK;
    return mq_write_at(file->fd, file->path, group->columns_offset + expert * bytes, old, bytes,
                       err);
}

/* ---- sharing ---- */

/* Bytes [begin, end) of the file, which `owns` says that this process has. `bytes`: room for SHARED_BYTES. */
enum { SHARED_BYTES = 16 << 20 };
static moeq_status share_range(const struct mq_file *file, uint64_t begin, uint64_t end, bool owns,
                               const struct mq_peers *peers, uint8_t *bytes, uint64_t *begins,
                               moeq_error *err)
{
    moeq_status status = MOEQ_OK;
    for (uint64_t n; begin < end && status == MOEQ_OK; begin += n) {
        void *all = NULL;
        n = mq_min_u64(SHARED_BYTES, end - begin);
        if (owns)
            status = mq_file_read_at(file, begin, bytes, n, err);
        if (status == MOEQ_OK)
            status = mq_peers_gather_all(peers, bytes, owns ? n : 0, &all, begins, err);
        if (status == MOEQ_OK && !owns)
            status = mq_write_at(file->fd, file->path, begin, all, n, err);
        free(all);
    }
    return status;
}

/* Where a layer's items begin; of one behind the last, where they end. */
static uint64_t begin_of_layer(const struct mq_calibration_writer *w, uint32_t layer)
{
    const struct mq_calibration_groups *g = &w->calibration.groups;
    const struct mq_layout_item *items = w->layout.items;
    for (size_t i = 0; i < g->count; i++)
        if (g->all[i].layer >= (int32_t)layer)
            return g->all[i].sums_offset;
    size_t i = 0;
    while (strcmp(items[i].name, "config.json") != 0)
        i++;
    return items[i].offset;
}

moeq_status mq_calibration_share(struct mq_calibration_writer *w, const struct mq_peers *peers,
                                 moeq_error *err)
{
    const unsigned count = mq_peers_count(peers);
    const uint32_t layers = w->calibration.view->hparams.layers;
    if (count == 1)
        return MOEQ_OK;
    bool *seen = calloc(count * (size_t)layers, sizeof *seen);
    uint64_t *begins = calloc(count + 1, sizeof *begins);
    uint8_t *bytes = malloc(SHARED_BYTES);
    moeq_status status = MOEQ_OK;
    if (!seen || !begins || !bytes)
        status = mq_fail_memory(err, "sharing the sums");
    if (status == MOEQ_OK)
        status = mq_peers_gather(peers, w->seen, layers * sizeof *seen, seen, err);
    for (uint32_t l = 0; l < layers && status == MOEQ_OK; l++) {
        unsigned owners = 0;
        for (unsigned r = 0; r < count; r++)
            owners += seen[r * layers + l];
        if (owners > 1)
            status = mq_fail(err, MOEQ_INVALID_ARGUMENT,
                             "%u processes have seen tokens of layer %" PRIu32, owners, l);
        else if (owners == 1)
            status = share_range(&w->calibration.file, begin_of_layer(w, l),
                                 begin_of_layer(w, l + 1), w->seen[l], peers, bytes, begins, err);
    }
    free(seen);
    free(begins);
    free(bytes);
    return status;
}

/* ---- the end ---- */

static moeq_status crc_of(const struct mq_file *file, uint64_t at, uint64_t n, uint8_t *bytes,
                          size_t room, uint32_t *crc, moeq_error *err)
{
    *crc = 0;
    for (uint64_t done = 0, step; done < n; done += step) {
        step = mq_min_u64(n - done, room);
        MQ_TRY(mq_file_read_at(file, at + done, bytes, (size_t)step, err));
        *crc = (uint32_t)crc32_z(*crc, bytes, step);
    }
    return MOEQ_OK;
}

static moeq_status write_checksums(struct mq_calibration_writer *w, moeq_error *err)
{
    enum { ROOM = 1 << 20 };
    const struct mq_layout *l = &w->layout;
    uint32_t *crcs = calloc(l->count, sizeof *crcs);
    uint8_t *bytes = malloc(ROOM);
    moeq_status status = MOEQ_OK;
    if (!crcs || !bytes)
        status = mq_fail_memory(err, "writing the checksums");
    for (size_t i = 0; i + 1 < l->count && status == MOEQ_OK; i++)
        status = crc_of(&w->calibration.file, l->items[i].offset, l->items[i].size_bytes, bytes,
                        ROOM, &crcs[i], err);
    if (status == MOEQ_OK)
        status = mq_layout_write_crcs(l, crcs, w->writer.file.fd, w->writer.file.part, NULL, err);
    free(crcs);
    free(bytes);
    return status;
}

moeq_status mq_calibration_finish(struct mq_calibration_writer *w, moeq_error *err)
{
    MQ_TRY(write_checksums(w, err));
    return mq_st_writer_finish(&w->writer, err);
}

void mq_calibration_writer_free(struct mq_calibration_writer *w)
{
    mq_st_writer_abort(&w->writer);
    mq_file_close(&w->scratch);
    mq_arena_destroy(w->arena);
    *w = (struct mq_calibration_writer)MQ_CALIBRATION_WRITER_NONE;
}

/* ---- merging ---- */

static moeq_status check_alike(const struct mq_calibration *a, const struct mq_calibration *b,
                               moeq_error *err)
{
    if (a->fingerprint != b->fingerprint)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, b->path,
                            "is of another model (%s, %08" PRIx32 ") than %s (%s, %08" PRIx32
                            "): only calibrations of one model add up",
                            b->model_name, b->fingerprint, a->path, a->model_name, a->fingerprint);
    bool same = a->groups.count == b->groups.count;
    for (size_t i = 0; same && i < a->groups.count; i++) {
        const struct mq_calibration_group *x = &a->groups.all[i], *y = &b->groups.all[i];
        same = x->role == y->role && x->layer == y->layer && x->experts == y->experts &&
               x->cols == y->cols;
    }
    return same ? MOEQ_OK
                : mq_fail_file(err, MOEQ_INVALID_ARGUMENT, b->path,
                               "has other matrices than %s: only calibrations of one model add up",
                               a->path);
}

/* Adds all of one part. `columns`: two of the longest rows. */
static moeq_status add_part(const struct mq_context *context, const struct mq_calibration *part,
                            struct mq_calibration_writer *w, struct mq_exact_sum *columns,
                            size_t widest, moeq_error *err)
{
    for (size_t i = 0; i < part->groups.count; i++) {
        const struct mq_calibration_group *from = &part->groups.all[i],
                                          *to = &w->calibration.groups.all[i];
        const bool own = from->inputs == i;
        for (uint32_t e = 0; e < from->experts; e++) {
            struct mq_calibration_sums sums;
            if (mq_cancelled(context))
                return mq_fail(err, MOEQ_CANCELLED, "interrupted");
            MQ_TRY(mq_calibration_read(part, from, e, &sums, own ? columns : NULL, err));
            MQ_TRY(
                mq_calibration_put(w, to, e, &sums, own ? columns : NULL, columns + widest, err));
        }
    }
    return MOEQ_OK;
}

moeq_status mq_calibration_merge(const struct mq_context *context,
                                 struct mq_calibration *const *parts, size_t count,
                                 struct mq_calibration_writer *w, const char *path, moeq_error *err)
{
    const struct mq_calibration *first = parts[0];
    size_t widest = 0, texts = 0;
    for (size_t i = 0; i < count; i++) {
        MQ_TRY(check_alike(first, parts[i], err));
        texts += parts[i]->texts_count;
    }
    for (size_t i = 0; i < first->groups.count; i++)
        widest = mq_max_u64(widest, first->groups.all[i].cols);
    struct mq_calibration_text *all = calloc(texts + 1, sizeof *all);
    struct mq_exact_sum *columns = calloc(2 * widest + 1, sizeof *columns);
    moeq_status status;
    if (!all || !columns) {
        status = mq_fail_memory(err, "merging calibrations");
        goto out;
    }
    struct mq_calibration_origin origin = {.view = first->view,
                                           .model_name = first->model_name,
                                           .fingerprint = first->fingerprint,
                                           .texts = all};
    for (size_t i = 0; i < count; i++)
        for (size_t t = 0; t < parts[i]->texts_count; t++)
            all[origin.texts_count++] = parts[i]->texts[t];
    MQ_TRY_OUT(mq_calibration_create(context, &origin, path, w, err));
    for (size_t i = 0; i < count && status == MOEQ_OK; i++)
        status = add_part(context, parts[i], w, columns, widest, err);
    if (status != MOEQ_OK)
        mq_calibration_writer_free(w);
out:
    free(all);
    free(columns);
    return status;
}
