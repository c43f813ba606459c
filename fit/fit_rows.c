/* fit_rows.c: the rows of who names no levels. */
#include "fit.h"

#include "error.h"
#include "gguf_names.h"
#include "stored.h"

#include <string.h>

/* A file that is quantized already, as it stands: named by the level of its experts. */
static moeq_status add_file(struct mq_fit *fit, moeq_error *err)
{
    const struct mq_policy as_stored = {0};
    const char *name = "stored";
    for (size_t i = fit->view->tensors_count; i-- > 0;)
        if (mq_view_class(fit->view, fit->view->tensors[i].role) == MQ_CLASS_EXPERTS)
            name = fit->view->tensors[i].storage;
    return mq_fit_add(fit, name, &as_stored, err);
}

/* Whether a runtime loads what is stored so as it is. vLLM and SGLang do with published checkpoints, mlx-lm with those in
 * its own form and in MXFP4; llama.cpp with what GGUF has a type for. */
static bool loads(const struct mq_runtime *r, const char *storage)
{
    if (r->reads_gguf)
        return mq_gguf_type_by_storage(storage) != NULL;
    return r->bit != MQ_RUNS_MLX || mq_runtime_form_of(r, storage) ||
           strncmp(storage, "mlx", 3) == 0 || strcmp(storage, "mxfp4") == 0;
}

/* Of a folder or config.json whose makers quantized it: the row of that. *added: the runtime loads it; nothing larger says
 * more. */
static moeq_status add_original(struct mq_fit *fit, bool *added, moeq_error *err)
{
    const struct mq_runtime *runtime = mq_fit_target_runtime(&fit->target);
    const char *storage = NULL;
    *added = false;
    for (size_t i = 0; i < fit->view->tensors_count; i++) {
        const struct mq_tensor *t = &fit->view->tensors[i];
        const struct mq_level *level;
        MQ_TRY(mq_tensor_stored(fit->view, t, &level, err));
        if (!level->quantized)
            continue;
        storage = t->storage;
        if (!loads(runtime, storage))
            fit->unread = storage;
    }
    if (!storage || fit->unread)
        return MOEQ_OK;
    *added = true;
    return mq_fit_add_stored(fit, MQ_FIT_AS_STORED, err);
}

static bool is_offered(const struct mq_runtime *r, const struct mq_level *level)
{
    return level->quantized && mq_level_can_encode(level) &&
           (r->reads_gguf ? mq_gguf_type_by_storage(level->name) != NULL
                          : mq_runtime_form_of(r, level->name) != NULL);
}

/* Of a level, what the mix leaves to it. */
static moeq_status add_level(struct mq_fit *fit, const struct mq_level *level,
                             const struct mq_policy *mix, moeq_error *err)
{
    struct mq_policy policy = *mix;
    const struct mq_policy usual = mq_policy_default(level);
    for (int c = 0; c < MQ_CLASS_COUNT; c++)
        if (!mix->levels[c])
            policy.levels[c] = usual.levels[c];
    return mq_fit_add(fit, level->name, &policy, err);
}

moeq_status mq_fit_add_usual(struct mq_fit *fit, const struct mq_policy *mix, moeq_error *err)
{
    if (fit->view->kind == MQ_VIEW_MOEQ || fit->view->kind == MQ_VIEW_GGUF)
        return add_file(fit, err);
    bool as_stored;
    MQ_TRY(add_original(fit, &as_stored, err));
    if (!as_stored)
        MQ_TRY(add_level(fit, mq_level_find("bf16"), mix, err));
    for (size_t i = 0; i < mq_levels_count; i++)
        if (is_offered(mq_fit_target_runtime(&fit->target), &mq_levels[i]))
            MQ_TRY(add_level(fit, &mq_levels[i], mix, err));
    return MOEQ_OK;
}
