/*
 * quantized_source.c: GPTQ, AWQ and their kin, by config.json or by their tensors' names.
 *
 * moeq quantizes from the original's weights: doing it again from four bits would add one error to
 * another, so all that such a source can get is one sentence that says what it is and what is
 * needed. Where the folder's README.md names its base model (front matter, as the Hub reads it),
 * the sentence does too.
 */
#include "quantized_source.h"

#include "error.h"
#include "json.h"
#include "open_options.h"

#include <stdio.h>
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

/* Names that tensors of full precision never have. `suffix` is the end of a name. */
static const struct suffix {
    const char *end, *name;
} suffixes[] = {
    {".qweight", "GPTQ or AWQ"},
    {".qzeros", "GPTQ or AWQ"},
    {".g_idx", "GPTQ"},
    {".weight_packed", "compressed-tensors"},
    {".weight_scale", "FP8 or compressed-tensors"},
    {".weight_scale_inv", "FP8"},
    {".weight_zero_point", "compressed-tensors"},
    {".weight_global_scale", "NVFP4"},
    {".SCB", "bitsandbytes, 8 bits"},
    {".weight_format", "bitsandbytes, 8 bits"},
    {".weight.absmax", "bitsandbytes, 4 bits"},
    {".weight.quant_map", "bitsandbytes, 4 bits"},
    {".weight.nested_absmax", "bitsandbytes, 4 bits"},
    {".weight.quant_state.bitsandbytes__nf4", "bitsandbytes, NF4"},
    {".weight.quant_state.bitsandbytes__fp4", "bitsandbytes, FP4"},
    {".W_q", "HQQ"},
    {".codebooks", "AQLM"},
    {".q_weight", "EXL2"},
    {".trellis", "EXL3"},
    {".qscales", "EETQ"},
    {".weight_scales", "EETQ"},
    {".scales", "MLX, GPTQ or AWQ"},
    {".biases", "MLX"},
    {"_blocks", "MXFP4"},
    {"_proj_scales", "MXFP4"},
    {".weight._data", "Quanto"},
};

/* ---- README.md's front matter ---- */

/* The value behind "key:" without blanks, quotes and comments. */
static void copy_value(const char *text, size_t n, char *out, size_t room)
{
    while (n && (*text == ' ' || *text == '\t' || *text == '"' || *text == '\''))
        text++, n--;
    size_t k = 0;
    while (k < n && k + 1 < room && !strchr(" \t\r\"'#,]", text[k]))
        k++;
    memcpy(out, text, k);
    out[k] = '\0';
}

/*
 * "base_model: owner/name", or a list of them, in the YAML block between the first two lines of
 * three dashes. Only as much YAML as these lines are; anything else leaves `name` empty.
 */
static void find_base_model(const char *text, size_t n, char *name, size_t room)
{
    static const char key[] = "base_model:";
    const char *end = text + n;
    bool in_list = false;
    if (n < 4 || memcmp(text, "---", 3) != 0)
        return;
    for (const char *line = text; line < end && !name[0];) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const size_t length = (size_t)((stop ? stop : end) - line);
        if (line != text && length >= 3 && memcmp(line, "---", 3) == 0)
            return;
        if (length >= sizeof key - 1 && memcmp(line, key, sizeof key - 1) == 0) {
            const char *value = line + sizeof key - 1;
            const char *bracket = memchr(value, '[', length - (sizeof key - 1));
            if (bracket)
                value = bracket + 1;
            copy_value(value, length - (size_t)(value - line), name, room);
            in_list = !name[0];
        } else if (in_list) {
            const size_t dash = strspn(line, " ");
            if (dash < length && line[dash] == '-')
                copy_value(line + dash + 1, length - dash - 1, name, room);
            in_list = false;
        }
        line = stop ? stop + 1 : end;
    }
}

/* " (example/base, as its README.md says)", or nothing. */
static void name_original(const struct mq_view *view, char *text, size_t room)
{
    enum { README_CAP = 4 << 20 };
    struct mq_buffer readme = {0};
    char path[4200], name[200] = "";
    size_t bad;
    text[0] = '\0';
    snprintf(path, sizeof path, "%s/README.md", view->path);
    if (!mq_path_is_folder(view->path) || !mq_path_exists(path))
        return;
    if (mq_file_read_all(path, README_CAP, &readme, NULL) == MOEQ_OK && readme.size)
        find_base_model(readme.data, readme.size, name, sizeof name);
    mq_buffer_free(&readme);
    if (name[0] && mq_utf8_valid(name, strlen(name), &bad))
        snprintf(text, room, " (%s, as its README.md says)", name);
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

moeq_status mq_refuse_quantized_config(struct mq_view *view, const cJSON *config, const char *path,
                                       moeq_error *err)
{
    const cJSON *q = mq_json_get(config, "quantization_config");
    const cJSON *mlx = mq_json_get(config, "quantization");
    /* Other tools leave notes under this name; what MLX writes has the number of bits. */
    if (cJSON_IsObject(mlx) && mq_json_get(mlx, "bits"))
        return refuse(view, path, "MLX", "\"quantization\" in config.json", err);
    if (mq_view_ignores_key(view, "quantization_config") || !q || cJSON_IsNull(q) ||
        cJSON_IsFalse(q) || (cJSON_IsObject(q) && !q->child))
        return MOEQ_OK;
    const cJSON *id = mq_json_get(q, "quant_method");
    /* bitsandbytes wrote none at first */
    const bool loads_in_bits = mq_json_get(q, "load_in_4bit") || mq_json_get(q, "load_in_8bit");
    const char *method = cJSON_IsString(id) ? id->valuestring
                         : loads_in_bits    ? "bitsandbytes"
                                            : "an unnamed method";
    char name[80];
    snprintf(name, sizeof name, "%.60s", method_name(method));
    if (strcmp(method, "bitsandbytes") == 0)
        return mq_view_note(
            view, err,
            "config.json asks for bitsandbytes when the model is loaded; the stored "
            "weights are read as they are");
    return refuse(view, path, name, "\"quantization_config\" in config.json", err);
}

/* ---- what the tensors say ---- */

moeq_status mq_refuse_quantized_tensor(const struct mq_view *view, const char *name,
                                       const char *path, moeq_error *err)
{
    const size_t n = strlen(name);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        const size_t m = strlen(suffixes[i].end);
        char evidence[200];
        if (n < m || strcmp(name + n - m, suffixes[i].end) != 0)
            continue;
        snprintf(evidence, sizeof evidence, "it has a tensor '%.120s'", name);
        return refuse(view, path, suffixes[i].name, evidence, err);
    }
    return MOEQ_OK;
}
