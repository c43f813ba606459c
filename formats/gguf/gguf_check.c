/*
 * gguf_check.c: whether a file's keys say what the model is.
 *
 * The keys are read as any reader would, into layers, which must be the model's own. So nothing has to
 * list what each architecture cannot say: what it takes for granted stands in its rows, and a model
 * that is otherwise is found here.
 */
#include "gguf_int.h"
#include "gguf_model.h"
#include "gguf_saying.h"

#include "error.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool view_has(const void *user, enum mq_role role, int32_t layer)
{
    const struct mq_view *view = user;
    if (layer >= 0)
        return mq_view_find(view, role, layer, 0) != NULL;
    for (size_t i = 0; i < view->tensors_count; i++)
        if (view->tensors[i].role == role)
            return true;
    return false;
}

/* Files have 32-bit numbers of what config.json has in 64. */
static bool is_near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fabs(b);
}

/* What is said by tensors is not looked at. */
static bool same_rope(const struct mq_rope *a, const struct mq_rope *b)
{
    if (b->theta > 0 && !is_near(a->theta, b->theta))
        return false;
    switch (b->type) {
    case MQ_ROPE_DEFAULT:
        return a->type == b->type; /* the part that is turned is the layers' */
    case MQ_ROPE_LINEAR:
        return a->type == b->type && is_near(a->factor, b->factor);
    case MQ_ROPE_YARN:
        return a->type == b->type && is_near(a->factor, b->factor) &&
               is_near(a->original_max_positions, b->original_max_positions) &&
               is_near(a->beta_fast, b->beta_fast) && is_near(a->beta_slow, b->beta_slow) &&
               is_near(a->magnitude, b->magnitude) && a->truncate == b->truncate;
    default:
        return true;
    }
}

/* As far as files of the architecture say what a layer is. */
static struct mq_layer as_said(const struct mq_gguf_arch *arch, const struct mq_layer *layer)
{
    struct mq_layer l = *layer;
    if (!mq_gguf_arch_has_window(arch)) /* the plan warns of it */
        l.attention.window = 0;
    return l;
}

static bool same_lists(const struct mq_hparam *p, const char *a, const char *b)
{
    if (p->type == MQ_HPARAM_LAYERS)
        return ((const struct mq_layer_set *)(a + p->offset))->count ==
               ((const struct mq_layer_set *)(b + p->offset))->count;
    return true;
}

/* The names of the hyper-parameters that differ, as far as they are simple. */
static void list_differences(const struct mq_hparams *a, const struct mq_hparams *b, char *text,
                             size_t room)
{
    static const size_t sizes[] = {[MQ_HPARAM_U32] = 4,    [MQ_HPARAM_F32] = 4,
                                   [MQ_HPARAM_BOOL] = 1,   [MQ_HPARAM_ACTIVATION] = 4,
                                   [MQ_HPARAM_WINDOW] = 4, [MQ_HPARAM_TOKEN] = 0};
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < mq_hparam_count && n < room; i++) {
        const struct mq_hparam *p = &mq_hparam_table[i];
        const size_t size =
            p->in_maths && p->type < sizeof sizes / sizeof *sizes ? sizes[p->type] : 0;
        if (!same_lists(p, (const char *)a, (const char *)b) ||
            (size && memcmp((const char *)a + p->offset, (const char *)b + p->offset, size) != 0))
            n += (size_t)snprintf(text + n, room - n, "%s%s", n ? ", " : " (by ", p->name);
    }
    if (n && n < room)
        snprintf(text + n, room - n, ")");
}

static moeq_status compare(const struct mq_gguf_arch *arch, const struct mq_view *read,
                           const struct mq_view *view, moeq_error *err)
{
    char by[400];
    list_differences(&read->hparams, &view->hparams, by, sizeof by);
    for (uint32_t i = 0; i < view->hparams.layers; i++) {
        const struct mq_layer a = as_said(arch, &read->program->layers[i]->layer);
        const struct mq_layer b = as_said(arch, &view->program->layers[i]->layer);
        if (memcmp(&a, &b, sizeof a) != 0)
            return mq_fail_file(err, MOEQ_UNSUPPORTED, view->path,
                                "GGUF's architecture %s cannot say what layer %u of this model "
                                "is%s: programs that read the file would compute another model",
                                arch->name, i, by);
    }
    if (memcmp(&read->program->ends, &view->program->ends, sizeof view->program->ends) != 0)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, view->path,
                            "GGUF's architecture %s cannot say what embeddings or logits of this "
                            "model are multiplied by%s",
                            arch->name, by);
    if (!same_rope(&read->hparams.rope, &view->hparams.rope) ||
        !same_rope(&read->hparams.rope_local, &view->hparams.rope_local))
        return mq_fail_file(err, MOEQ_UNSUPPORTED, view->path,
                            "GGUF's architecture %s cannot say how positions are turned in this "
                            "model",
                            arch->name);
    return MOEQ_OK;
}

moeq_status mq_gguf_check_model(const struct mq_view *view, const void *header, size_t n,
                                moeq_error *err)
{
    struct mq_gguf gguf = {.file = {.fd = -1}};
    struct mq_view *read = mq_view_create(view->path);
    moeq_status status = MOEQ_OK;
    if (!read)
        return mq_fail_memory(err, "planning");
    struct mq_gguf_saying s = {.gguf = &gguf,
                               .arch = mq_gguf_arch_find(view->family->gguf_architecture),
                               .family = view->family,
                               .view = read,
                               .arena = read->arena,
                               .has = view_has,
                               .has_user = view};
    moeq_error why = {0};
    MQ_TRY_OUT(mq_gguf_parse(view->path, header, n, read->arena, &gguf, err));
    status = mq_gguf_say_config(&s, NULL, &why);
    if (status == MOEQ_OK)
        status = mq_gguf_print(&s, &read->side[MQ_SIDE_CONFIG], &why);
    if (status == MOEQ_OK)
        status = mq_config_parse_as(read, view->family, view->path, &why);
    if (status == MOEQ_OK)
        status = compare(s.arch, read, view, err);
    else if (status == MOEQ_NO_MEMORY)
        mq_fail_memory(err, "planning");
    else /* keys that no reader takes */
        status =
            mq_fail_file(err, MOEQ_UNSUPPORTED, view->path,
                         "GGUF's architecture %s cannot say what this model is: its keys would "
                         "be read as '%.300s'",
                         s.arch->name, why.message);
out:
    mq_gguf_close(&gguf);
    mq_view_close(read);
    return status;
}
