/*
 * claimed_storage.c: quantized tensors of a config.json alone.
 *
 * What quantization is for: linear layers. MXFP4 as it is published (gpt-oss) is of experts alone; routers are no
 * linear layers in the families that are published so, and embeddings and head stay plain in all of them.
 *
 *     modules_to_not_convert   fp8, mxfp4, awq: names of modules, from the start or as an end, whole parts of a name;
 *                              '*' or '.*' for anything (Transformers' should_convert_module)
 *     ignore                   compressed-tensors: names, or "re:" and a regular expression from the start
 *     config_groups.*.targets  the same, or the class "Linear" (compressed-tensors' match_named_modules)
 *
 *     the name of a module     MLX: false
 *
 * Of regular expressions that is read which such lists are made of: letters, '.', '.*', '\.', '^', '$' and one
 * level of (a|b|c). Each becomes one or several patterns of '*'.
 */
#include "claimed_storage.h"

#include "assembly.h"
#include "error.h"
#include "integer_rows.h"
#include "json.h"
#include "open_options.h"
#include "text_match.h"

#include <stdio.h>
#include <string.h>

enum { NAME_ROOM = 256, MAX_PATTERNS = 4096 };

struct patterns {
    struct mq_view *view;
    const char *texts[MAX_PATTERNS];
    size_t count;
    bool strange; /* one was not understood */
    bool no_memory;
};

static void add(struct patterns *p, const char *before, const char *text, const char *after)
{
    char whole[NAME_ROOM + 8];
    const int n = snprintf(whole, sizeof whole, "%s%s%s", before, text, after);
    if (p->count == MAX_PATTERNS || n < 0 || (size_t)n >= sizeof whole) {
        p->strange = true;
        return;
    }
    p->texts[p->count] = mq_arena_strdup(p->view->arena, whole);
    p->no_memory |= !p->texts[p->count++];
}

/* "a.*b\.c$" -> "a*b.c", without alternatives; false: something else is in it. */
static bool plain_regex(const char *from, char to[NAME_ROOM], bool *ends)
{
    size_t n = 0;
    *ends = false;
    for (; *from && n + 1 < NAME_ROOM; from++) {
        if (*from == '$' && !from[1]) {
            *ends = true;
            continue;
        }
        if (*from == '\\' && from[1] == 'd' && from[2] == '+') {
            to[n++] = '*';
            from += 2;
        } else if (*from == '\\' && from[1] == '.') {
            to[n++] = *++from;
        } else if (*from == '.' && from[1] == '*') {
            to[n++] = '*';
            from++;
        } else if (strchr("\\[]{}()+?*|^$", *from)) {
            return false;
        } else {
            to[n++] = *from; /* '.' among them: in names it stands for itself */
        }
    }
    to[n] = '\0';
    return !*from;
}

/* A regular expression, of which re.match asks no end. */
static void add_regex(struct patterns *p, const char *text)
{
    char one[NAME_ROOM], glob[NAME_ROOM];
    bool ends;
    text += *text == '^';
    const char *open = strchr(text, '('), *close = open ? strchr(open, ')') : NULL;
    for (const char *part = open; part && close && part < close;) {
        const size_t n = strcspn(part + 1, "|)");
        const int all = snprintf(one, sizeof one, "%.*s%.*s%s", (int)(open - text), text, (int)n,
                                 part + 1, close + 1);
        if (all < 0 || (size_t)all >= sizeof one || !plain_regex(one, glob, &ends)) {
            p->strange = true;
            return;
        }
        add(p, "", glob, ends ? "" : "*");
        part += n + 1;
    }
    if (!open && plain_regex(text, glob, &ends))
        add(p, "", glob, ends ? "" : "*");
    else if (!open || !close)
        p->strange = true;
}

/* The name of a module, also with its ends or what is in it left out: "lm_head", "model.layers.0.mlp". */
static void add_name(struct patterns *p, const char *text)
{
    char glob[NAME_ROOM];
    bool ends;
    if (!plain_regex(text, glob,
                     &ends)) /* its '*' of "layers.*.attn" is that of a pattern already */
        snprintf(glob, sizeof glob, "%s", text);
    add(p, "", glob, "");
    add(p, "", glob, ".*");
    add(p, "*.", glob, "");
    add(p, "*.", glob, ".*");
}

static void add_list(struct patterns *p, const cJSON *list)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *text = cJSON_IsString(item) ? item->valuestring : "";
        if (!*text || strlen(text) >= NAME_ROOM)
            p->strange |= strlen(text) >= NAME_ROOM;
        else if (strncmp(text, "re:", 3) == 0)
            add_regex(p, text + 3);
        else
            add_name(p, text);
    }
}

/* The targets of all groups; none where one is the class of all linear layers. */
static void add_targets(struct patterns *p, const cJSON *quantization)
{
    const cJSON *group, *target;
    cJSON_ArrayForEach(group, mq_json_get(quantization, "config_groups"))
    {
        cJSON_ArrayForEach(target, mq_json_get(group, "targets"))
        {
            if (cJSON_IsString(target) && strcmp(target->valuestring, "Linear") == 0) {
                p->count = 0;
                return;
            }
        }
        add_list(p, mq_json_get(group, "targets"));
    }
}

/* What MLX says of single modules. */
static void add_plain(struct patterns *p, const cJSON *quantization)
{
    const cJSON *module;
    cJSON_ArrayForEach(module, quantization)
    {
        if (p->view->claim.method == MQ_SOURCE_MLX && cJSON_IsFalse(module) && module->string &&
            strlen(module->string) < NAME_ROOM)
            add_name(p, module->string);
    }
}

static moeq_status keep(struct patterns *p, const char ***list, moeq_error *err)
{
    *list = mq_arena_alloc(p->view->arena, p->count + 1, sizeof **list);
    if (!*list || p->no_memory)
        return mq_fail_memory(err, "opening a model");
    memcpy(*list, p->texts, p->count * sizeof **list);
    (*list)[p->count] = NULL;
    p->count = 0;
    return MOEQ_OK;
}

moeq_status mq_claimed_modules_read(struct mq_view *view, const cJSON *config,
                                    struct mq_claimed_modules *modules, moeq_error *err)
{
    *modules = (struct mq_claimed_modules){0};
    if (!view->claim.method)
        return MOEQ_OK;
    struct patterns *p = mq_arena_alloc(view->arena, 1, sizeof *p);
    if (!p)
        return mq_fail_memory(err, "opening a model");
    *p = (struct patterns){.view = view};
    const cJSON *q = mq_json_get(config, "quantization_config");
    q = q ? q : mq_json_get(config, "compression_config");
    q = q ? q : mq_json_get(config, "quantization");
    add_targets(p, q);
    MQ_TRY(keep(p, &modules->only, err));
    add_list(p, mq_json_get(q, "modules_to_not_convert"));
    add_list(p, mq_json_get(q, "ignore"));
    add_plain(p, q);
    MQ_TRY(keep(p, &modules->plain, err));
    return p->strange
               ? mq_view_note(view, err,
                              "not every pattern of \"quantization_config\" is understood: which "
                              "modules are quantized, and so sizes, may differ")
               : MOEQ_OK;
}

/* ---- one tensor ---- */

static bool is_among(const char *const *patterns, const char *module)
{
    for (; *patterns; patterns++)
        if (mq_text_matches(*patterns, module))
            return true;
    return false;
}

/* The same matrix of the expert before: a layer's experts are all of one kind, so that the patterns are asked
 * once for all. The table stands expert by expert. */
static const struct mq_tensor *of_expert_before(const struct mq_view *view,
                                                const struct mq_tensor *t)
{
    enum { MATRICES = 8 };
    for (size_t i = 1; t->expert > 0 && i <= MATRICES && i <= view->tensors_count; i++) {
        const struct mq_tensor *other = &view->tensors[view->tensors_count - i];
        if (other->role == t->role && other->layer == t->layer && other->expert == t->expert - 1)
            return other;
    }
    return NULL;
}

static bool is_quantized(const struct mq_view *view, const struct mq_claimed_modules *modules,
                         const struct mq_tensor *t)
{
    static const char end[] = ".weight";
    const enum mq_role_class group = mq_view_class(view, t->role);
    char module[NAME_ROOM];
    const bool mlx = view->claim.method == MQ_SOURCE_MLX; /* embeddings, and most routers, too */
    if (t->dims != 2 || (!mlx && (group == MQ_CLASS_KEEP || group == MQ_CLASS_EMBEDDINGS)) ||
        (view->claim.method == MQ_SOURCE_MXFP4 && t->expert < 0))
        return false;
    const struct mq_tensor *before = of_expert_before(view, t);
    if (before)
        return before->assembly != NULL;
    const size_t n = strlen(t->name) - (mq_ends_with(t->name, end) ? sizeof end - 1 : 0);
    snprintf(module, sizeof module, "%.*s", (int)n, t->name);
    return (!*modules->only || is_among(modules->only, module)) &&
           !is_among(modules->plain, module);
}

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* Integers, of the first scheme: zeros of as many bits as codes, scales (and MLX's biases) in two bytes. */
static bool claim_integers(const struct mq_source_claim *claim, struct mq_tensor *t,
                           struct mq_assembly *a, struct mq_integers *in)
{
    const struct mq_source_scheme *s = &claim->schemes[0];
    const bool one = s->group == MQ_GROUP_TENSOR, mlx = claim->method == MQ_SOURCE_MLX;
    const uint64_t group = s->group && !one ? s->group : t->cols;
    if (t->cols % group)
        return false;
    const uint64_t groups = t->cols / group, scales = one ? 1 : t->rows * groups;
    *in = (struct mq_integers){.bits = s->bits,
                               .group = group,
                               .groups = groups,
                               .zeros_are = mlx        ? MQ_ZEROS_BIASES
                                            : s->zeros ? MQ_ZEROS_DOWN
                                                       : MQ_ZEROS_ONE,
                               .scales.dtype = MQ_BF16,
                               .places.name = claim->reordered && groups > 1 ? "g_idx" : NULL};
    a->integers = in;
    a->stored_bytes = t->rows * divide_up(t->cols * s->bits, 32) * 4 + 2 * scales +
                      (mlx        ? 2 * scales
                       : s->zeros ? divide_up(t->rows * s->bits, 32) * 4 * groups
                                  : 0) +
                      (in->places.name ? t->cols * 4 : 0);
    mq_integers_choose(in, t);
    return true;
}

static bool claim_codes(const struct mq_source_claim *claim, struct mq_tensor *t,
                        struct mq_assembly *a)
{
    const bool mxfp4 = claim->method == MQ_SOURCE_MXFP4 || claim->mxfp4;
    const enum mq_assembly_kind kind = mxfp4 ? MQ_ASSEMBLE_MXFP4 : MQ_ASSEMBLE_F8;
    if (t->cols % mq_assembly_weights(kind))
        return false;
    /* Scales: of blocks in f32 (DeepSeek), of rows in the model's own two bytes, of MXFP4 a byte. */
    struct mq_assembly_scales *s = &a->scales;
    s->dtype = mxfp4 ? MQ_U8 : claim->block_rows ? MQ_F32 : MQ_BF16;
    s->rows_each = claim->block_rows ? claim->block_rows : 1;
    s->cols_each = mxfp4 ? 32 : claim->block_cols ? claim->block_cols : t->cols;
    s->row_bytes = divide_up(t->cols, s->cols_each) * mq_dtype_bytes(s->dtype);
    a->kind = kind;
    a->step = 1;
    a->stored_row_bytes = mq_assembly_code_bytes(kind, t->cols);
    a->stored_bytes =
        t->rows * a->stored_row_bytes + divide_up(t->rows, s->rows_each) * s->row_bytes;
    t->storage = mq_assembly_storage(kind);
    t->row_bytes = mq_assembly_row_bytes(kind, t->cols);
    return true;
}

static void claim_nvfp4(struct mq_tensor *t, struct mq_assembly *a, struct mq_integers *in)
{
    *in = (struct mq_integers){.bits = 4, .as_floats = true};
    a->integers = in;
    a->stored_bytes = t->rows * (divide_up(t->cols, 2) + divide_up(t->cols, 16)) + sizeof(float);
    mq_integers_choose(in, t);
}

moeq_status mq_claimed_storage(struct mq_view *view, const struct mq_claimed_modules *modules,
                               struct mq_tensor *t, moeq_error *err)
{
    const struct mq_source_claim *claim = &view->claim;
    if (!claim->method || !is_quantized(view, modules, t))
        return MOEQ_OK;
    struct mq_assembly *a = mq_arena_alloc(view->arena, 1, sizeof *a);
    struct mq_integers *in = mq_arena_alloc(view->arena, 1, sizeof *in);
    if (!a || !in)
        return mq_fail_memory(err, "opening a model");
    bool is_set = true;
    if (claim->schemes_count)
        is_set = claim_integers(claim, t, a, in);
    else if (claim->nvfp4 && !claim->mxfp4)
        claim_nvfp4(t, a, in);
    else
        is_set = claim_codes(claim, t, a);
    t->assembly = is_set ? a : NULL;
    return MOEQ_OK;
}
