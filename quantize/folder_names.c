/*
 * folder_names.c: what other runtimes call a model's tensors.
 *
 * vLLM, SGLang and Transformers read the official names, of families whose official folder has one matrix for each
 * expert's. mlx-lm reads the names of its own models: those of a layer's experts stacked. Sources: mlx_lm/models, each
 * file's sanitize (0.32); the official folders, as formats/arch describes them.
 */
#include "folder_int.h"

#include "error.h"
#include "family.h"
#include "json.h"
#include "text_match.h"

#include <stdio.h>
#include <string.h>

#define NO_MODEL "mlx-lm has no model of this family"
#define NOT_YET "this version does not write what mlx-lm's model of it expects"
#define FUSED "its official folder has the experts of a layer in one tensor"

static const struct mq_folder_family families[] = {
    {.family = "mixtral", .stack = "switch_mlp"},
    {.family = "qwen2_moe", .stack = "switch_mlp"},
    {.family = "qwen3_moe", .stack = "switch_mlp"},
    {.family = "qwen3_vl_moe", .why_not = FUSED, .mlx_why = NOT_YET},
    {.family = "qwen3_next", .mlx_why = NOT_YET " (norms with 1 added)"},
    {.family = "qwen3_5_moe",
     .why_not = FUSED,
     .stack = "switch_mlp",
     /* with convolutions as they are in the official folder: by those mlx-lm sees that norms lack their 1 */
     .mlx_prefix = "language_model.",
     .mlx_remark = "vision is left out: mlx-lm runs the language model alone"},
    {.family = "olmoe", .stack = "switch_mlp"},
    {.family = "phimoe", .stack = "switch_mlp"},
    {.family = "deepseek_v2", .stack = "switch_mlp"},
    {.family = "deepseek_v3", .stack = "switch_mlp", .splits_kv_b = true},
    {.family = "deepseek_v32", .stack = "switch_mlp", .splits_kv_b = true},
    {.family = "glm_moe_dsa", .stack = "switch_mlp", .splits_kv_b = true},
    {.family = "glm4_moe", .stack = "switch_mlp"},
    {.family = "glm4_moe_lite", .stack = "switch_mlp", .splits_kv_b = true},
    {.family = "minimax_m2", .stack = "switch_mlp"},
    {.family = "ernie4_5_moe",
     .stack = "switch_mlp",
     .mlx_remark = "mlx-lm's model leaves out what the router adds for the choice of experts "
                   "(moe_statics.e_score_correction_bias): it chooses others than the original"},
    {.family = "dots1", .stack = "experts"},
    {.family = "afmoe", .stack = "experts"},
    {.family = "exaone_moe", .stack = "switch_mlp"},
    {.family = "solar_open", .stack = "switch_mlp"},
    {.family = "mimo_v2_flash", .stack = "switch_mlp"},
    {.family = "lfm2_moe", .stack = "switch_mlp", .renames_mlps = true},
    {.family = "granitemoe", .why_not = FUSED, .stack = "switch_mlp"},
    {.family = "gpt_oss",
     .why_not = FUSED ", in MXFP4: vLLM, SGLang and Transformers run that as it is",
     .stack = "experts"},
    {.family = "hunyuan_v1_moe", .mlx_why = "mlx-lm knows it by another model_type alone"},
    {.family = "hy_v3", .mlx_why = NO_MODEL},
    {.family = "mistral4", .why_not = FUSED, .mlx_why = NO_MODEL},
    {.family = "nemotron_h", .mlx_why = NOT_YET},
    {.family = "granitemoehybrid", .why_not = FUSED, .mlx_why = NOT_YET},
    {.family = "llama4", .why_not = FUSED, .mlx_why = NOT_YET},
    {.family = "gemma4", .why_not = FUSED, .mlx_why = NOT_YET},
    {.family = "dbrx", .why_not = FUSED, .mlx_why = NOT_YET},
    {.family = "mistral_large3",
     .why_not = "its folder is of Mistral's own form",
     .mlx_why = NO_MODEL},
    {.family = "grok1",
     .why_not = "none of these runtimes reads it from this folder",
     .mlx_why = NO_MODEL},
    /* without experts */
    {.family = "llama", .stack = "switch_mlp"},
    {.family = "mistral", .stack = "switch_mlp"},
    {.family = "ministral3", .stack = "switch_mlp"},
};

const char *mq_folder_format_name(enum mq_folder_format format)
{
    static const char *const names[MQ_FOLDER_FORMATS] = {
        [MQ_FOLDER_MLX] = "mlx",
        [MQ_FOLDER_PACKED] = "compressed-tensors",
        [MQ_FOLDER_FP8] = "fp8-block",
        [MQ_FOLDER_INT8] = "int8",
    };
    return names[format];
}

/* A model with a vision tower has its config for both, and moeq carries none of that. */
static moeq_status refuse_other_parts(const struct mq_folder_job *job)
{
    const struct mq_view *view = job->plan->view;
    const struct mq_buffer *text = &view->side[MQ_SIDE_CONFIG];
    const struct mq_json_limits limits = {.depth = MQ_JSON_DEEPEST, .values = 1 << 20};
    cJSON *tree = NULL;
    if (!text->size)
        return mq_fail_file(
            job->err, MOEQ_UNSUPPORTED, view->path,
            "has no config.json, which a folder for --format %s needs: give the original's "
            "folder",
            mq_folder_format_name(job->options->format));
    MQ_TRY(mq_json_parse(text->data, text->size, &limits, "config.json", 0, &tree, job->err));
    const bool other = cJSON_IsObject(mq_json_get(tree, "text_config"));
    cJSON_Delete(tree);
    return !other ? MOEQ_OK
                  : mq_fail_file(job->err, MOEQ_UNSUPPORTED, view->path,
                                 "is the language model of one with other parts, such as vision "
                                 "(config.json has "
                                 "a text_config): those would be missing in the folder, and the "
                                 "runtimes look for "
                                 "them; moeq export writes it as a GGUF file");
}

moeq_status mq_folder_find_family(struct mq_folder_job *job)
{
    const struct mq_view *view = job->plan->view;
    const bool mlx = job->options->format == MQ_FOLDER_MLX;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].family, view->family->name) == 0)
            job->family = &families[i];
    const char *why = !job->family ? "this version does not know how the runtime reads it"
                      : mlx        ? job->family->mlx_why
                                   : job->family->why_not;
    if (why)
        return mq_fail_file(job->err, MOEQ_UNSUPPORTED, view->path,
                            "--format %s is not implemented for the family %s: %s",
                            mq_folder_format_name(job->options->format), view->family->name, why);
    if (mlx)
        mq_plan_warn(job->plan, job->family->mlx_remark);
    return mlx && job->family->mlx_prefix ? MOEQ_OK : refuse_other_parts(job);
}

bool mq_folder_stacks(const struct mq_folder_job *job, const struct mq_tensor *t)
{
    return job->options->format == MQ_FOLDER_MLX && t->expert >= 0;
}

/* The matrix of an MLP that a role is of, or whose bias it is; NULL: of none. */
static const char *matrix_of(enum mq_role role)
{
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};
    static const enum mq_role firsts[] = {MQ_ROLE_EXPERT_GATE, MQ_ROLE_MLP_GATE};
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++)
        for (int m = 0; m < 3; m++) {
            const enum mq_role r = mq_role_of_matrix(firsts[i], m);
            if (role == r || role == r + 1)
                return names[m];
        }
    return NULL;
}

/* Behind the last "." */
static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* "....experts.3.w1.weight" is a part of "...switch_mlp.gate_proj.weight". */
static const char *name_in_mlx(const struct mq_folder_job *job, const struct mq_tensor *t)
{
    struct mq_arena *arena = job->plan->arena;
    const char *prefix = job->family->mlx_prefix ? job->family->mlx_prefix : "";
    const char *end = last_part(t->name), *at = strstr(t->name, ".experts.");
    if (t->expert >= 0 && at)
        return mq_arena_printf(arena, "%s%.*s.%s.%s.%s", prefix, (int)(at - t->name), t->name,
                               job->family->stack, matrix_of(t->role), end);
    if (!job->family->renames_mlps || t->expert >= 0 || !matrix_of(t->role))
        return mq_arena_printf(arena, "%s%s", prefix, t->name);
    size_t n = (size_t)(end - t->name) - 1;
    while (n && t->name[n - 1] != '.')
        n--;
    return mq_arena_printf(arena, "%s%.*s%s.%s", prefix, (int)n, t->name, matrix_of(t->role), end);
}

const char *mq_folder_plain_name(const struct mq_folder_job *job, const struct mq_tensor *t)
{
    return job->options->format == MQ_FOLDER_MLX ? name_in_mlx(job, t) : t->name;
}

const char *mq_folder_module(const struct mq_folder_job *job, const struct mq_tensor *t)
{
    static const char end[] = ".weight";
    const char *name = mq_folder_plain_name(job, t);
    return name && mq_ends_with(name, end)
               ? mq_arena_strndup(job->plan->arena, name, strlen(name) - strlen(end))
               : name;
}
