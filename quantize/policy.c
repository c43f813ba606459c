/* policy.c: which level each tensor is to have. */
#include "policy.h"

#include "error.h"
#include "stored.h"

#include <fnmatch.h>
#include <string.h>

/* NULL: as in the source. */
static const struct mq_level *level_beside(const struct mq_level *level, const char *name)
{
    if (!name)
        return level->quantized ? mq_level_find("q8_0") : level;
    return mq_level_find(name);
}

struct mq_policy mq_policy_default(const struct mq_level *level)
{
    struct mq_policy policy = {0};
    policy.levels[MQ_CLASS_EXPERTS] = level;
    policy.levels[MQ_CLASS_SHARED] = level_beside(level, level->attention);
    policy.levels[MQ_CLASS_ATTENTION] = policy.levels[MQ_CLASS_SHARED];
    policy.levels[MQ_CLASS_EMBEDDINGS] = level_beside(level, level->embeddings);
    return policy;
}

struct mq_policy mq_policy_of_recipe(const struct mq_recipe *recipe)
{
    struct mq_policy policy = {.recipe = recipe};
    policy.levels[MQ_CLASS_EXPERTS] = mq_level_find(recipe->experts);
    policy.levels[MQ_CLASS_SHARED] = mq_level_find(recipe->attention);
    policy.levels[MQ_CLASS_ATTENTION] = mq_level_find(recipe->attention);
    policy.levels[MQ_CLASS_EMBEDDINGS] = mq_level_find(recipe->embeddings);
    return policy;
}

/* Routers decide where tokens go and norms scale every channel; both are too small for their bytes
 * to matter, so they may be widened but never narrowed. */
static moeq_status check_kept(const struct mq_view *view, const struct mq_tensor *t,
                              const struct mq_level *source, const struct mq_level *level,
                              moeq_error *err)
{
    const double had = mq_level_row_bits(source, source->block_weights);
    if (mq_view_class(view, t->role) != MQ_CLASS_KEEP || level == source ||
        (!level->quantized && mq_level_row_bits(level, 1) > had))
        return MOEQ_OK;
    return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                   "%s: tensor '%s' (%s) is %s in the source and is never stored with less "
                   "precision; %s was asked for",
                   view->path, mq_tensor_shown(t), mq_role_name(t->role), source->name,
                   level->name);
}

/* A tensor may stay at a level that is read only, but none is brought to it. */
static moeq_status check_can_encode(const struct mq_view *view, const struct mq_tensor *t,
                                    const struct mq_level *level, moeq_error *err)
{
    if (mq_level_can_encode(level) || strcmp(level->name, t->storage) == 0)
        return MOEQ_OK;
    return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                   "%s: tensor '%s' cannot be stored at level '%s', which is read only", view->path,
                   mq_tensor_shown(t), level->name);
}

bool mq_policy_override_matches(const struct mq_policy_override *o, const struct mq_tensor *t)
{
    return fnmatch(o->pattern, t->name, 0) == 0 || fnmatch(o->pattern, mq_tensor_shown(t), 0) == 0;
}

moeq_status mq_policy_apply(const struct mq_policy *policy, const struct mq_view *view,
                            const struct mq_level **levels, moeq_error *err)
{
    if (policy->importance)
        MQ_TRY(mq_importance_check(policy->importance, view, err));
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        MQ_TRY(mq_tensor_stored(view, t, &levels[i], err));
        const struct mq_level *wanted = policy->levels[mq_view_class(view, t->role)];
        const char *refined =
            policy->recipe ? mq_recipe_level_in(policy->recipe, view, t) : NULL;
        if (wanted)
            levels[i] = refined ? mq_level_find(refined) : wanted;
        if (policy->chosen && policy->chosen[i])
            levels[i] = policy->chosen[i];
    }
    for (size_t k = 0; k < policy->overrides_count; k++) {
        const struct mq_policy_override *o = &policy->overrides[k];
        size_t matches = 0;
        for (size_t i = 0; i < view->tensors_count; i++) {
            const struct mq_tensor *t = &view->tensors[i];
            if (!mq_policy_override_matches(o, t))
                continue;
            const struct mq_level *source;
            MQ_TRY(mq_tensor_stored(view, t, &source, err));
            MQ_TRY(check_kept(view, t, source, o->level, err));
            levels[i] = o->level;
            matches++;
        }
        if (!matches)
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           "no tensor of %s matches the pattern '%s' (names are like '%s')",
                           view->path, o->pattern, view->tensors[view->tensors_count / 2].name);
    }
    for (size_t i = 0; i < view->tensors_count; i++)
        MQ_TRY(check_can_encode(view, &view->tensors[i], levels[i], err));
    return MOEQ_OK;
}
