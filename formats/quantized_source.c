/*
 * quantized_source.c: GPTQ, AWQ and their kin, by config.json or by their tensors' names.
 *
 * What makers publish as the original is read (quantization_config.h). Otherwise moeq quantizes from
 * the original's weights: doing it again from four bits would add one error to another, so all that
 * another tool's quantization can get is one sentence that says what it is and what is
 * needed. Where the folder's README.md names its base model (front matter, as the Hub reads it),
 * the sentence does too.
 */
#include "quantized_source.h"

#include "checked.h"
#include "error.h"
#include "json.h"
#include "open_options.h"
#include "quantization_config.h"
#include "text_match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* quant_method of Transformers' quantization configs -> what people call it. */
static const struct method {
    const char *id, *name;
} methods[] = {
    {"gptq", "GPTQ"},
    {"awq", "AWQ"},
    {"bitsandbytes", "bitsandbytes"},
    {"hqq", "HQQ"},
    {"eetq", "EETQ"},
    {"aqlm", "AQLM"},
    {"vptq", "VPTQ"},
    {"higgs", "HIGGS"},
    {"quip", "QuIP#"},
    {"spqr", "SpQR"},
    {"quanto", "Quanto"},
    {"torchao", "torchao"},
    {"compressed-tensors", "compressed-tensors"},
    {"fbgemm_fp8", "FP8 (FBGEMM)"},
    {"fp8", "FP8"},
    {"modelopt", "ModelOpt"},
    {"mxfp4", "MXFP4"},
    {"bitnet", "BitNet"},
    {"exl2", "EXL2"},
    {"exl3", "EXL3"},
    {"auto-round", "AutoRound"},
    {"intel/auto-round", "AutoRound"},
    {"quark", "Quark"},
    {"sinq", "SINQ"},
    {"fouroversix", "Four over Six"},
};

/* Ends of names that tensors of full precision never have; those that tell most first, as several
 * methods have some in common. A dtype alone tells the rest. */
static const struct suffix {
    const char *end, *name;
    unsigned read; /* bits of enum mq_source_method: ways of storing that moeq reads have it too */
} suffixes[] = {
    {".weight.quant_state.bitsandbytes__nf4", "bitsandbytes, NF4", 0},
    {".weight.quant_state.bitsandbytes__fp4", "bitsandbytes, FP4", 0},
    {".weight.absmax", "bitsandbytes, 4 bits", 0},
    {".weight.quant_map", "bitsandbytes, 4 bits", 0},
    {".weight.nested_absmax", "bitsandbytes, 4 bits", 0},
    {".SCB", "bitsandbytes, 8 bits", 0},
    {".weight_format", "bitsandbytes, 8 bits", 0},
    {".q_weight", "EXL2", 0},
    {".trellis", "EXL3", 0},
    {".W_q", "HQQ", 0},
    {".codebooks", "AQLM", 0},
    {".g_idx", "GPTQ", 1 << MQ_SOURCE_GPTQ},
    {".qweight", "AWQ or GPTQ", 1 << MQ_SOURCE_GPTQ | 1 << MQ_SOURCE_AWQ},
    {".qzeros", "AWQ or GPTQ", 1 << MQ_SOURCE_GPTQ | 1 << MQ_SOURCE_AWQ},
    {".weight_global_scale", "NVFP4", 1 << MQ_SOURCE_COMPRESSED},
    {".weight_scale_2", "NVFP4", 0},
    {".weight_packed", "compressed-tensors", 1 << MQ_SOURCE_COMPRESSED},
    {".weight_zero_point", "compressed-tensors", 1 << MQ_SOURCE_COMPRESSED},
    {".weight_scale_inv", "FP8", 1 << MQ_SOURCE_F8},
    {".weight_scale", "FP8 or compressed-tensors", 1 << MQ_SOURCE_F8 | 1 << MQ_SOURCE_COMPRESSED},
    {".qscales", "EETQ", 0},
    {".weight_scales", "EETQ", 0},
    {".weight._data", "Quanto", 0},
    {".weight:_data", "torchao", 0},
    {"_blocks", "MXFP4", 1 << MQ_SOURCE_MXFP4},
    {"_proj_scales", "MXFP4", 1 << MQ_SOURCE_MXFP4},
    {".biases", "MLX", 1 << MQ_SOURCE_MLX},
    {".scales", "MLX, AWQ or GPTQ", 1 << MQ_SOURCE_MLX | 1 << MQ_SOURCE_GPTQ | 1 << MQ_SOURCE_AWQ},
};
enum { SUFFIXES = sizeof suffixes / sizeof *suffixes };

/* ---- README.md's front matter ---- */

/* A model's name as the Hub has it, owner/name or a name alone; nothing else is worth repeating. */
static bool is_model_name(const char *text, size_t n)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    static const char *const values[] = {"null", "Null", "NULL",  "none", "None",
                                         "true", "True", "false", "False"};
    enum { MOST = 96 };
    size_t part = 0, slashes = 0, letters_in_part = 0;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (strlen(values[i]) == n && memcmp(values[i], text, n) == 0)
            return false;
    for (size_t i = 0; i <= n; i++) {
        if (i == n || text[i] == '/') {
            if (!letters_in_part || part > MOST || (i < n && ++slashes > 1))
                return false;
            part = letters_in_part = 0;
            continue;
        }
        const bool letter = text[i] && strchr(letters, text[i]);
        if (!letter && (!text[i] || !strchr("._-", text[i])))
            return false;
        letters_in_part += letter;
        part++;
    }
    return true;
}

/* The next value of a line: without blanks, quotes and what begins a list in front of it; it ends
 * at a blank, a quote, a comma or a bracket. */
static size_t find_value(const char **text, const char *end)
{
    const char *at = *text;
    while (at < end && strchr(" \t\"'[", *at) && *at)
        at++;
    *text = at;
    while (at < end && *at && !strchr(" \t\r\"'#,]", *at))
        at++;
    return (size_t)(at - *text);
}

/* Behind "base_model", in quotes or not, and its colon; NULL if the line is another's. */
static const char *after_key(const char *line, const char *end)
{
    static const char key[] = "base_model";
    const size_t n = sizeof key - 1;
    const char quote = line < end && (*line == '"' || *line == '\'') ? *line++ : '\0';
    if ((size_t)(end - line) < n || memcmp(line, key, n) != 0)
        return NULL;
    line += n;
    if (quote && (line == end || *line++ != quote))
        return NULL;
    while (line < end && (*line == ' ' || *line == '\t'))
        line++;
    return line < end && *line == ':' ? line + 1 : NULL;
}

/* Nothing, or what says that the value is on the next lines: a block scalar, a list. */
static bool goes_on(const char *value, size_t n)
{
    return n == 0 || (n <= 2 && (*value == '>' || *value == '|'));
}

/*
 * "base_model: owner/name", or a list of them, in the YAML block between the first two lines of
 * three dashes. Only as much YAML as these lines are; anything else leaves `name` empty.
 */
static void find_base_model(const char *text, size_t n, char *name, size_t room)
{
    static const char hub[] = "https://huggingface.co/", bom[] = "\xef\xbb\xbf";
    const char *end = text + n;
    bool inside = false; /* behind the key, and no value yet */
    if (n >= 3 && memcmp(text, bom, 3) == 0)
        text += 3;
    if (end - text < 4 || memcmp(text, "---", 3) != 0)
        return;
    for (const char *line = text; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *stop = newline ? newline : end, *value = after_key(line, stop);
        if (line != text && stop - line >= 3 && memcmp(line, "---", 3) == 0)
            return;
        if (inside) {
            for (value = line; value < stop && *value == ' ';)
                value++;
            if (value < stop && *value == '-')
                value++;
            else if (value == line) /* another key */
                return;
        }
        if (value) {
            const size_t length = find_value(&value, stop);
            const size_t begin =
                length > sizeof hub && !memcmp(value, hub, sizeof hub - 1) ? sizeof hub - 1 : 0;
            if (is_model_name(value + begin, length - begin))
                snprintf(name, room, "%.*s", (int)(length - begin), value + begin);
            if (inside || !goes_on(value, length))
                return;
            inside = true;
        }
        line = newline ? newline + 1 : end;
    }
}

/* From README.md in the model's folder; its front matter is at the beginning. */
static void read_readme(const struct mq_view *view, char *name, size_t room)
{
    enum { HEAD_BYTES = 64 << 10 };
    char path[4200];
    struct mq_file file;
    snprintf(path, sizeof path, "%s/README.md", view->path);
    if (!mq_path_is_folder(view->path) || mq_file_open(path, &file, NULL) != MOEQ_OK)
        return;
    const size_t n = (size_t)mq_min_u64(file.size_bytes, HEAD_BYTES);
    char *text = malloc(n + 1);
    if (text && n && mq_file_read_at(&file, 0, text, n, NULL) == MOEQ_OK)
        find_base_model(text, n, name, room);
    free(text);
    mq_file_close(&file);
}

/* "_name_or_path" is what was loaded before it was saved: of a quantized model often the original.
 * Only owner/name is of use to others. */
static void read_config_name(const struct mq_view *view, char *name, size_t room)
{
    const struct mq_json_limits limits = {.depth = 32, .values = 100000};
    const struct mq_buffer *json = &view->side[MQ_SIDE_CONFIG];
    cJSON *config = NULL;
    if (!json->size ||
        mq_json_parse(json->data, json->size, &limits, view->path, 0, &config, NULL) != MOEQ_OK)
        return;
    const cJSON *c = mq_json_get(config, "_name_or_path");
    const char *text = cJSON_IsString(c) ? c->valuestring : "";
    if (strchr(text, '/') && text[0] != '.' && is_model_name(text, strlen(text)))
        snprintf(name, room, "%s", text);
    cJSON_Delete(config);
}

/* " (example/base, as its README.md says)", or nothing. */
static void name_original(const struct mq_view *view, char *text, size_t room)
{
    char name[200] = "";
    const char *where = "README.md";
    read_readme(view, name, sizeof name);
    if (!name[0]) {
        where = "config.json";
        read_config_name(view, name, sizeof name);
    }
    text[0] = '\0';
    if (name[0])
        snprintf(text, room, " (%s, as its %s says)", name, where);
}

static moeq_status refuse(const struct mq_view *view, const char *path, const char *how,
                          const char *evidence, moeq_error *err)
{
    char original[260];
    name_original(view, original, sizeof original);
    return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                        "the weights are quantized already (%s: %s): moeq needs the original "
                        "model%s, in float32, float16 or bfloat16",
                        how, evidence, original);
}

/* ---- what config.json says ---- */

static const char *method_name(const char *id)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i].id, id) == 0)
            return methods[i].name;
    return id;
}

static moeq_status read_mlx(struct mq_view *view, const cJSON *q, const char *key, const char *path,
                            moeq_error *err)
{
    char name[160], evidence[80];
    const char *why = mq_claim_read_mlx(q, &view->claim);
    if (!why)
        return MOEQ_OK;
    snprintf(name, sizeof name, "MLX, %s", why);
    snprintf(evidence, sizeof evidence, "\"%s\" in config.json", key);
    return refuse(view, path, name, evidence, err);
}

moeq_status mq_refuse_quantized_config(struct mq_view *view, const cJSON *config, const char *path,
                                       moeq_error *err)
{
    /* compressed-tensors used a key of its own at first */
    const bool older =
        !mq_json_get(config, "quantization_config") && mq_json_get(config, "compression_config");
    const char *key = older ? "compression_config" : "quantization_config";
    const cJSON *q = mq_json_get(config, key);
    const cJSON *mlx = mq_json_get(config, "quantization");
    /* Other tools leave notes under this name; what MLX writes has the number of bits. */
    if (cJSON_IsObject(mlx) && mq_json_get(mlx, "bits"))
        return read_mlx(view, mlx, "quantization", path, err);
    if (mq_view_ignores_key(view, key) || !q || cJSON_IsNull(q) || cJSON_IsFalse(q) ||
        (cJSON_IsObject(q) && !q->child))
        return MOEQ_OK;
    const cJSON *id = mq_json_get(q, "quant_method");
    if (!id && mq_json_get(q, "bits") &&
        mq_json_get(q, "group_size")) /* MLX's second name for it */
        return read_mlx(view, q, key, path, err);
    /* bitsandbytes wrote none at first */
    const bool loads_in_bits = mq_json_get(q, "load_in_4bit") || mq_json_get(q, "load_in_8bit");
    const char *method = cJSON_IsString(id) ? id->valuestring
                         : loads_in_bits    ? "bitsandbytes"
                                            : "an unnamed method";
    char name[160], evidence[80];
    snprintf(name, sizeof name, "%.60s", method_name(method));
    if (strcmp(method, "bitsandbytes") == 0)
        return mq_view_note(
            view, err,
            "config.json asks for bitsandbytes when the model is loaded; the stored "
            "weights are read as they are");
    const char *why = mq_claim_read(q, method, &view->claim);
    if (!why)
        return MOEQ_OK;
    if (why[0])
        snprintf(name + strlen(name), sizeof name - strlen(name), ", %s", why);
    snprintf(evidence, sizeof evidence, "\"%s\" in config.json", key);
    return refuse(view, path, name, evidence, err);
}

/* ---- what the tensors say ---- */

/* Dtypes that weights have only where they are packed or scaled. */
static const char *dtype_says(const struct mq_st_entry *e)
{
    if (!mq_ends_with(e->name, ".weight") && !mq_ends_with(e->name, "_proj"))
        return NULL;
    switch (e->dtype) {
    case MQ_F8_E4M3:
    case MQ_F8_E5M2:
        return "FP8";
    case MQ_U8:
    case MQ_I8:
        return "8-bit integers or packed 4-bit ones";
    case MQ_U32:
    case MQ_I32:
        return "packed into 32-bit integers, as MLX, GPTQ and AWQ do";
    default:
        return NULL;
    }
}

/* Whether an entry is the scales of an FP8 tensor, in blocks of 128 x 128. */
static bool is_scale_of_f8(const struct mq_tensor_set *set, const struct mq_st_entry *e)
{
    static const char end[] = "_scale_inv";
    char name[512];
    if (e->dtype != MQ_F32 || e->dims != 2 || !mq_ends_with(e->name, end))
        return false;
    snprintf(name, sizeof name, "%.*s", (int)(strlen(e->name) + 1 - sizeof end), e->name);
    const struct mq_located *at = mq_tensor_set_find(set, name);
    return at && at->entry->dtype == MQ_F8_E4M3 && at->entry->dims == 2 &&
           (at->entry->shape[0] + 127) / 128 == e->shape[0] &&
           (at->entry->shape[1] + 127) / 128 == e->shape[1];
}

moeq_status mq_guess_quantized(struct mq_view *view, const struct mq_tensor_set *set,
                               moeq_error *err)
{
    const char *what = NULL;
    for (size_t i = 0; i < set->count && !view->claim.method; i++) {
        const struct mq_st_entry *e = set->tensors[i].entry;
        if (is_scale_of_f8(set, e)) {
            view->claim = (struct mq_source_claim){
                .method = MQ_SOURCE_F8, .block_rows = 128, .block_cols = 128};
            what = "FP8 in blocks of 128 x 128";
        } else if (e->dtype == MQ_U8 && mq_ends_with(e->name, "_proj_blocks") && e->dims == 4) {
            view->claim = (struct mq_source_claim){.method = MQ_SOURCE_MXFP4};
            what = "MXFP4";
        }
    }
    if (!what)
        return MOEQ_OK;
    return mq_view_note(view, err,
                        "its tensors are %s, though config.json has no quantization_config: they are "
                        "read as such",
                        what);
}

/* Whether weights of the method are such numbers, under the names of weights. */
static bool is_read(enum mq_source_method method, enum mq_dtype dtype)
{
    return dtype == MQ_F8_E4M3 ? method == MQ_SOURCE_F8 || method == MQ_SOURCE_COMPRESSED
           : dtype == MQ_I8    ? method == MQ_SOURCE_COMPRESSED
                               : dtype == MQ_U32 && method == MQ_SOURCE_MLX;
}

moeq_status mq_refuse_quantized_tensors(const struct mq_view *view, const struct mq_tensor_set *set,
                                        moeq_error *err)
{
    const struct mq_located *found = NULL;
    const char *how = NULL;
    const unsigned method = view->claim.method ? 1u << view->claim.method : 0;
    size_t best = SUFFIXES;
    char evidence[240];
    for (size_t i = 0; i < set->count; i++) {
        const struct mq_located *at = &set->tensors[i];
        const char *by_dtype =
            is_read(view->claim.method, at->entry->dtype) ? NULL : dtype_says(at->entry);
        for (size_t k = 0; k < best; k++)
            if (!(suffixes[k].read & method) && mq_ends_with(at->entry->name, suffixes[k].end)) {
                best = k;
                found = at;
                how = suffixes[k].name;
            }
        if (by_dtype && !found) {
            found = at;
            how = by_dtype;
        }
    }
    if (!found)
        return MOEQ_OK;
    snprintf(evidence, sizeof evidence, "it has a tensor '%.160s' of %s", found->entry->name,
             mq_dtype_name(found->entry->dtype));
    return refuse(view, mq_tensor_set_path(set, found), how, evidence, err);
}
