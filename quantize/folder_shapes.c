/*
 * folder_shapes.c: which matrices a runtime's kernels take in a form, and the words for those that they do not.
 *
 * vLLM and SGLang cut an expert's matrices among the GPUs of tensor parallelism: gate and up by rows, down by columns, and so
 * attention's. What a GPU gets must be whole groups (columns), of 128 x 128 blocks whole blocks (both). Marlin's kernels for
 * experts want a hidden size of multiples of 128 besides. Sources: vLLM, marlin_utils.py (check_moe_marlin_supports_layer),
 * compressed_tensors_moe_*.py, fp8.py (weight_block_size); SGLang, compressed_tensors_moe.py. MLX asks for whole groups alone
 * (mlx/ops.cpp, quantize).
 */
#include "folder_int.h"

#include "error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MARLIN = 128, BLOCK = 128, CHANNEL_STEP = 64, MOST_GPUS = 64 };

static bool is_of(enum mq_role role, const enum mq_role *roles, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (roles[i] == role)
            return true;
    return false;
}

/* Whose columns are cut among GPUs. */
static bool cut_by_columns(enum mq_role role)
{
    static const enum mq_role roles[] = {MQ_ROLE_ATTN_O, MQ_ROLE_EXPERT_DOWN, MQ_ROLE_SHARED_DOWN,
                                         MQ_ROLE_MLP_DOWN, MQ_ROLE_MIX_OUT};
    return is_of(role, roles, sizeof roles / sizeof *roles);
}

/* Whose rows are, in whole blocks. */
static bool cut_by_rows(enum mq_role role)
{
    static const enum mq_role roles[] = {MQ_ROLE_EXPERT_GATE, MQ_ROLE_EXPERT_UP,
                                         MQ_ROLE_SHARED_GATE, MQ_ROLE_SHARED_UP,
                                         MQ_ROLE_MLP_GATE,    MQ_ROLE_MLP_UP};
    return is_of(role, roles, sizeof roles / sizeof *roles);
}

bool mq_folder_fits(const struct mq_split *split, const struct mq_tensor *t, uint64_t gpus)
{
    const struct mq_level *level = mq_level_find(split->level);
    const bool fp8 = split->format == MQ_FOLDER_FP8;
    const uint32_t group = mq_split_group(split);
    if (t->cols % level->block_weights)
        return false;
    if (split->format == MQ_FOLDER_MLX)
        return true;
    if (cut_by_columns(t->role))
        return t->cols % (gpus * (group ? group : CHANNEL_STEP)) == 0;
    return !fp8 || !cut_by_rows(t->role) || t->rows % (gpus * BLOCK) == 0;
}

/* How many GPUs at most, of powers of two; 0: not even one. */
static uint64_t most_gpus(const struct mq_split *split, const struct mq_tensor *t)
{
    uint64_t most = 0;
    for (uint64_t n = 1; n <= MOST_GPUS; n *= 2)
        if (mq_folder_fits(split, t, n))
            most = n;
    return most;
}

/* ".down_proj.weight" */
static const char *last_parts(const char *name)
{
    const char *at = name + strlen(name);
    for (int dots = 0; at > name && dots < 2; dots += *at == '.')
        at--;
    return at;
}

/* What levels of as many bits fit, and how far: "w4g128 fits 1 GPU, w4g32 up to 4". */
static void list_fitting(const struct mq_split *split, const struct mq_tensor *t, char *text,
                         size_t room)
{
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < mq_levels_count && n < room; i++) {
        const struct mq_split *s = mq_split_find(split->format, &mq_levels[i]);
        if (!s || !mq_level_can_encode(&mq_levels[i]) || !mq_folder_same_codes(s, split))
            continue;
        const uint64_t most = most_gpus(s, t);
        if (most == MOST_GPUS || (most && split->format == MQ_FOLDER_MLX))
            n += (size_t)snprintf(text + n, room - n, "%s%s fits", n ? ", " : "", s->level);
        else if (most)
            n +=
                (size_t)snprintf(text + n, room - n, "%s%s fits %s%" PRIu64 " GPU%s", n ? ", " : "",
                                 s->level, most > 1 ? "up to " : "", most, most > 1 ? "s" : "");
    }
    if (!n)
        snprintf(text, room, "no level of these bits fits; --tensor '*%s=bf16' leaves it as it is",
                 last_parts(t->name));
}

/* The option that decides a tensor's level. */
static const char *option_of(const struct mq_view *view, const struct mq_tensor *t)
{
    static const char *const names[MQ_CLASS_COUNT] = {
        [MQ_CLASS_EXPERTS] = "--level",       [MQ_CLASS_SHARED] = "--shared",
        [MQ_CLASS_ATTENTION] = "--attention", [MQ_CLASS_EMBEDDINGS] = "--embeddings",
        [MQ_CLASS_KEEP] = "--tensor",
    };
    return names[mq_view_class(view, t->role)];
}

static moeq_status fail_shape(const struct mq_folder_job *job, const struct mq_tensor *t,
                              const struct mq_split *split)
{
    const struct mq_view *view = job->plan->view;
    const uint64_t gpus = mq_folder_gpus(job->options);
    const uint32_t block = mq_level_find(split->level)->block_weights;
    char fitting[400], among[80] = "";
    const bool by_columns = cut_by_columns(t->role);
    if (gpus > 1)
        snprintf(among, sizeof among, ", cut among %" PRIu64 " GPUs (--tp %" PRIu64 ")", gpus,
                 gpus);
    list_fitting(split, t, fitting, sizeof fitting);
    if (t->cols % block == 0 && !by_columns)
        return mq_fail_file(
            job->err, MOEQ_UNSUPPORTED, view->path,
            "tensor '%s' has %" PRIu64 " rows%s: --format %s needs multiples of %d of each; %s "
            "(%s)",
            mq_tensor_shown(t), t->rows, among, mq_folder_format_name(split->format), BLOCK,
            fitting, option_of(view, t));
    return mq_fail_file(
        job->err, MOEQ_UNSUPPORTED, view->path,
        "tensor '%s' has rows of %" PRIu64 " weights%s, which is no multiple of %s's %s of %u: %s "
        "(%s)",
        mq_tensor_shown(t), t->cols, by_columns ? among : "", split->level,
        mq_split_group(split) == block ? "groups" : "blocks", block, fitting, option_of(view, t));
}

/* Marlin's experts. */
static moeq_status check_hidden(const struct mq_folder_job *job, const struct mq_tensor *t,
                                const struct mq_split *split)
{
    const struct mq_view *view = job->plan->view;
    if (split->format != MQ_FOLDER_PACKED || t->expert < 0 || view->hparams.hidden % MARLIN == 0)
        return MOEQ_OK;
    return mq_fail_file(
        job->err, MOEQ_UNSUPPORTED, view->path,
        "the hidden size is %u, no multiple of %d: the kernels (Marlin) by which vLLM and SGLang "
        "run "
        "experts of %s refuse that; --format int8 has no such limit, and moeq export without "
        "--format writes GGUF",
        view->hparams.hidden, MARLIN, split->level);
}

moeq_status mq_folder_check_shape(const struct mq_folder_job *job, const struct mq_tensor *t,
                                  const struct mq_split *split)
{
    MQ_TRY(check_hidden(job, t, split));
    return mq_folder_fits(split, t, mq_folder_gpus(job->options)) ? MOEQ_OK
                                                                  : fail_shape(job, t, split);
}
