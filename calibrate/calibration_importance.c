/* calibration_importance.c: see calibration_importance.h. */
#include "calibration_importance.h"

#include "calibration.h"
#include "checked.h"
#include "error.h"
#include "gguf_imatrix.h"
#include "model_fingerprint.h"
#include "open_options.h"
#include "token_profile.h"
#include "text_match.h"

#include <inttypes.h>
#include <stdlib.h>

struct reader {
    const struct mq_context *context;
    const char *path;
    struct mq_view *view;
    struct mq_importance *importance;
    struct mq_calibration_groups groups; /* the view's */
    float *means;                        /* [widest] */
    struct mq_exact_sum *columns;
};

/* ---- a calibration ---- */

/* Where shapes differ, that is said first: it is the plainest sign. */
static moeq_status check_model(const struct reader *r, const struct mq_calibration *c,
                               moeq_error *err)
{
    uint32_t fingerprint;
    for (size_t i = 0; i < r->groups.count && i < c->groups.count; i++) {
        const struct mq_calibration_group *mine = &r->groups.all[i], *its = &c->groups.all[i];
        if (mine->role != its->role || mine->layer != its->layer || mine->experts != its->experts ||
            mine->cols != its->cols)
            return mq_fail_file(
                err, MOEQ_INVALID_ARGUMENT, r->path,
                "is of another model (%s): expected %s of layer %d in %" PRIu32
                " matrices of %" PRIu64 " columns, as in %s, found %s of layer %d in "
                "%" PRIu32 " of %" PRIu64,
                c->model_name, mq_role_name(mine->role), mine->layer, mine->experts, mine->cols,
                r->view->path, mq_role_name(its->role), its->layer, its->experts, its->cols);
    }
    if (r->groups.count != c->groups.count || r->view->hparams.layers != c->view->hparams.layers)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, r->path,
                            "is of another model (%s): expected %zu kinds of matrices in %" PRIu32
                            " layers, as in %s, found %zu in %" PRIu32,
                            c->model_name, r->groups.count, r->view->hparams.layers, r->view->path,
                            c->groups.count, c->view->hparams.layers);
    MQ_TRY(mq_model_fingerprint(r->context, r->view, &fingerprint, err));
    if (fingerprint != c->fingerprint)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, r->path,
                            "is of another model (%s, %08" PRIx32 ") than %s (%08" PRIx32
                            "): their norms or routers differ; calibrate this one",
                            c->model_name, c->fingerprint, r->view->path, fingerprint);
    return MOEQ_OK;
}

static moeq_status add_calibrated(const struct reader *r, const struct mq_calibration *c,
                                  const struct mq_tensor *t, moeq_error *err)
{
    const struct mq_calibration_group *g = mq_calibration_group_of(&c->groups, t);
    struct mq_calibration_sums sums;
    if (!g)
        return MOEQ_OK;
    MQ_TRY(
        mq_calibration_read(c, g, t->expert < 0 ? 0 : (uint32_t)t->expert, &sums, r->columns, err));
    for (uint64_t i = 0; i < t->cols; i++)
        r->means[i] =
            sums.tokens ? (float)(mq_exact_sum_value(&r->columns[i]) / (double)sums.tokens) : 0.0f;
    return mq_importance_add(r->importance, t->name, r->means, t->cols, (uint64_t)sums.tokens, err);
}

/* The tokens of its texts, where it has those of all. */
static moeq_status add_texts(const struct reader *r, const struct mq_calibration *c,
                             moeq_error *err)
{
    struct mq_buffer list = {0};
    moeq_status status = MOEQ_OK;
    for (size_t i = 0; i < c->texts_count; i++) {
        const struct mq_calibration_text *t = &c->texts[i];
        if (!t->profile)
            goto out;
        mq_profile_put(&list, t->name, t->tokens, t->common, t->profile);
    }
    mq_profile_end(&list);
    MQ_TRY_OUT(mq_buffer_ok(&list) ? mq_importance_set_calibrated_on(r->importance, list.data, err)
                                   : mq_fail_memory(err, "reading a calibration"));
out:
    mq_buffer_free(&list);
    return status;
}

static moeq_status read_calibration(const struct reader *r, moeq_error *err)
{
    struct mq_calibration *c;
    MQ_TRY(mq_calibration_open(r->context, r->path, &c, err));
    moeq_status status = check_model(r, c, err);
    if (status == MOEQ_OK)
        status = add_texts(r, c, err);
    for (size_t i = 0; i < r->view->tensors_count && status == MOEQ_OK; i++)
        status = add_calibrated(r, c, &r->view->tensors[i], err);
    if (status == MOEQ_OK)
        status = mq_calibration_check_unchanged(c, err);
    mq_calibration_close(c);
    return status;
}

/* ---- an imatrix ---- */

static moeq_status add_of_imatrix(const struct reader *r, const struct mq_imatrix *m,
                                  const struct mq_tensor *t, size_t *without, moeq_error *err)
{
    const bool listed = mq_calibration_group_of(&r->groups, t) != NULL;
    uint64_t inputs;
    bool found;
    if (!listed && t->role != MQ_ROLE_HEAD) /* some have the head too */
        return MOEQ_OK;
    MQ_TRY(mq_imatrix_read(m, r->view, t, &found, r->means, &inputs, err));
    if (found)
        return mq_importance_add(r->importance, t->name, r->means, t->cols, inputs, err);
    if (listed && mq_view_class(r->view, t->role) != MQ_CLASS_ATTENTION)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, r->path,
                            "has nothing for '%s': is it an imatrix of another model?",
                            mq_tensor_shown(t));
    *without += listed;
    return MOEQ_OK;
}

static moeq_status read_imatrix(const struct reader *r, moeq_error *err)
{
    struct mq_imatrix m;
    size_t without = 0;
    MQ_TRY(mq_imatrix_open(r->path, &m, err));
    moeq_status status = MOEQ_OK;
    for (size_t i = 0; i < r->view->tensors_count && status == MOEQ_OK; i++)
        status = add_of_imatrix(r, &m, &r->view->tensors[i], &without, err);
    if (status == MOEQ_OK)
        status = mq_imatrix_check_unchanged(&m, err);
    mq_imatrix_close(&m);
    if (status == MOEQ_OK && without)
        status = mq_view_note(r->view, err,
                              "%s has nothing for %zu matrices of attention: all their columns "
                              "count alike",
                              mq_base_name(r->path), without);
    return status;
}

/* ---- either ---- */

static moeq_status prepare(struct reader *r, struct mq_arena *arena, moeq_error *err)
{
    uint64_t widest = 1;
    if (!arena)
        return mq_fail_memory(err, "reading a calibration");
    MQ_TRY(mq_calibration_groups(r->view, arena, &r->groups, err));
    for (size_t i = 0; i < r->view->tensors_count; i++)
        widest = mq_max_u64(widest, r->view->tensors[i].cols);
    r->means = calloc(widest, sizeof *r->means);
    r->columns = calloc(widest, sizeof *r->columns);
    if (!r->means || !r->columns)
        return mq_fail_memory(err, "reading a calibration");
    return mq_importance_create(r->path, &r->importance, err);
}

moeq_status mq_calibration_importance(const struct mq_context *context, const char *path,
                                      struct mq_view *view, struct mq_importance **importance,
                                      moeq_error *err)
{
    struct reader r = {.context = context, .path = path, .view = view};
    struct mq_arena *arena = mq_arena_create();
    bool is_imatrix;
    moeq_status status;
    *importance = NULL;
    MQ_TRY_OUT(prepare(&r, arena, err));
    MQ_TRY_OUT(mq_is_imatrix(path, &is_imatrix, err));
    MQ_TRY_OUT(is_imatrix ? read_imatrix(&r, err) : read_calibration(&r, err));
    MQ_TRY_OUT(mq_importance_check(r.importance, view, err));
    MQ_TRY_OUT(mq_importance_blend_experts(r.importance, view, err));
    mq_importance_raise(r.importance);
out:
    free(r.means);
    free(r.columns);
    mq_arena_destroy(arena);
    if (status == MOEQ_OK)
        *importance = r.importance;
    else
        mq_importance_destroy(r.importance);
    return status;
}
