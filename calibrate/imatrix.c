/* imatrix.c: see imatrix.h. */
#include "imatrix.h"

#include "checked.h"
#include "error.h"
#include "family.h"
#include "gguf_imatrix.h"

#include <stdlib.h>

struct reader {
    const struct mq_calibration *calibration;
    struct mq_exact_sum *columns;
};

static moeq_status read_matrix(void *user, const struct mq_imatrix_entry *entry, uint32_t matrix,
                               float *sums, float *count, moeq_error *err)
{
    const struct reader *r = user;
    const struct mq_calibration_group *g =
        mq_calibration_group_of(&r->calibration->groups, entry->tensor);
    struct mq_calibration_sums of;
    MQ_TRY(mq_calibration_read(r->calibration, g, matrix, &of, r->columns, err));
    for (uint64_t c = 0; c < g->cols; c++)
        sums[c] = (float)mq_exact_sum_value(&r->columns[c]);
    *count = (float)of.tokens;
    return MOEQ_OK;
}

static moeq_status list_entries(const struct mq_calibration *c, struct mq_arena *arena,
                                struct mq_imatrix_entry *entries, size_t *count, moeq_error *err)
{
    *count = 0;
    for (size_t i = 0; i < c->groups.count; i++) {
        const struct mq_calibration_group *g = &c->groups.all[i];
        struct mq_imatrix_entry *e = &entries[*count];
        const struct mq_tensor *first =
            mq_view_find(c->view, g->role, g->layer, g->routed ? 0 : -1);
        MQ_TRY(mq_imatrix_entry(c->view, first, g->experts, arena, e, err));
        *count += e->names[0] != NULL;
    }
    return MOEQ_OK;
}

moeq_status mq_calibration_to_imatrix(const struct mq_calibration *c, const char *path,
                                      moeq_error *err)
{
    struct reader reader = {.calibration = c};
    struct mq_imatrix_source source = {.user = &reader, .read = read_matrix};
    uint64_t widest = 1, tokens = 0;
    size_t count;
    if (!c->view->family->gguf_architecture)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                            "models of the family %s have no GGUF files, so their matrices have no "
                            "names there; write a calibration (-o FILE.cal)",
                            c->view->family->name);
    for (size_t i = 0; i < c->groups.count; i++)
        widest = mq_max_u64(widest, c->groups.all[i].cols);
    struct mq_arena *arena = mq_arena_create();
    struct mq_imatrix_entry *entries =
        arena ? mq_arena_alloc(arena, c->groups.count + 1, sizeof *entries) : NULL;
    const char **datasets =
        arena ? mq_arena_alloc(arena, c->texts_count + 1, sizeof *datasets) : NULL;
    reader.columns = calloc(widest, sizeof *reader.columns);
    moeq_status status;
    if (!entries || !datasets || !reader.columns) {
        status = mq_fail_memory(err, "writing an imatrix");
        goto out;
    }
    for (size_t i = 0; i < c->texts_count; i++) {
        datasets[i] = c->texts[i].name;
        tokens += c->texts[i].tokens;
    }
    source.datasets = datasets;
    source.datasets_count = c->texts_count;
    source.chunk_size = c->texts_count ? (uint32_t)c->texts[0].context : 0;
    source.chunks = source.chunk_size ? (uint32_t)(tokens / source.chunk_size) : 0;
    MQ_TRY_OUT(list_entries(c, arena, entries, &count, err));
    MQ_TRY_OUT(mq_imatrix_write(c->view, path, entries, count, &source, err));
out:
    free(reader.columns);
    mq_arena_destroy(arena);
    return status;
}
