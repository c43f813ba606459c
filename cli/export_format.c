/* export_format.c: which format export writes: what --format, -o and --level say of it. */
#include "export_format.h"

#include "file.h"
#include "gguf_names.h"
#include "levels.h"
#include "spellings.h"
#include "text_match.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const names[MQ_FOLDER_FORMATS] = {
    [MQ_FOLDER_MLX] = "mlx",
    [MQ_FOLDER_PACKED] = "compressed-tensors",
    [MQ_FOLDER_FP8] = "fp8-block",
    [MQ_FOLDER_INT8] = "int8",
};

/* Other words for them: runtimes, and what the formats are called elsewhere. */
static const struct {
    const char *word;
    int format; /* -1: none */
    const char *say;
} words[] = {
    {"mlx-lm", MQ_FOLDER_MLX, NULL},
    {"mlx_lm", MQ_FOLDER_MLX, NULL},
    {"compressed_tensors", MQ_FOLDER_PACKED, NULL},
    {"pack-quantized", MQ_FOLDER_PACKED, NULL},
    {"w4a16", MQ_FOLDER_PACKED, NULL},
    {"w8a16", MQ_FOLDER_PACKED, NULL},
    {"fp8", MQ_FOLDER_FP8, NULL},
    {"fp8_block", MQ_FOLDER_FP8, NULL},
    {"w8a8", MQ_FOLDER_INT8, NULL},
    {"int-quantized", MQ_FOLDER_INT8, NULL},
    {"vllm", -1, "is a runtime, which reads compressed-tensors, fp8-block and int8"},
    {"sglang", -1, "is a runtime, which reads compressed-tensors, fp8-block and int8"},
    {"tgi", -1, "is a runtime, which reads compressed-tensors and fp8-block"},
    {"lmstudio", -1, "is a program, which reads gguf, and mlx on Apple machines"},
    {"ollama", -1, "is a program, which reads gguf"},
    {"llama.cpp", -1, "is a runtime, which reads gguf"},
    {"gptq", -1, "is read but not written: what runs it reads compressed-tensors too"},
    {"awq", -1, "is read but not written: what runs it reads compressed-tensors too"},
    {"safetensors", -1, "is what mlx, compressed-tensors, fp8-block and int8 are made of"},
    {"moeq", -1, "is what moeq convert writes"},
};

static bool find_format(const char *name, bool *is_folder, enum mq_folder_format *format)
{
    const char *say = NULL;
    *is_folder = strcasecmp(name, "gguf") != 0;
    if (!*is_folder)
        return true;
    for (int f = 0; f < MQ_FOLDER_FORMATS; f++)
        if (strcasecmp(name, names[f]) == 0) {
            *format = (enum mq_folder_format)f;
            return true;
        }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(name, words[i].word) != 0)
            continue;
        if (words[i].format >= 0) {
            *format = (enum mq_folder_format)words[i].format;
            return true;
        }
        say = words[i].say;
    }
    mq_usage("export",
             "--format '%s'%s%s: expected gguf, mlx, compressed-tensors, fp8-block or int8", name,
             say ? " " : "", say ? say : "");
    return false;
}

/* What kind of file a name says. */
static const char *extension_of(const char *output)
{
    static const char *const known[] = {".gguf", ".moeq", ".safetensors"};
    for (size_t i = 0; output && i < sizeof known / sizeof *known; i++)
        if (strcasecmp(mq_extension(output), known[i]) == 0)
            return known[i];
    return NULL;
}

static bool refuse_file(const struct mq_options *o, enum mq_folder_format format)
{
    char about[PATH_MAX + 160], folder[PATH_MAX];
    const char *extension = extension_of(o->output);
    const bool gguf = strcmp(extension, ".gguf") == 0;
    snprintf(folder, sizeof folder, "%.*s-%s", (int)(mq_extension(o->output) - o->output),
             o->output, names[format]);
    snprintf(about, sizeof about,
             "-o '%s' is the name of a %s file, and --format %s writes a folder; %s", o->output,
             extension + 1, names[format],
             gguf ? "for a GGUF file leave --format out; for the folder"
                  : "give it a name of its own");
    mq_usage_instead("export", about, "moeq export % -o % --format %",
                     (const char *[]){o->positional[0], folder, names[format]});
    return false;
}

/* The format that has a level which GGUF does not; MQ_FOLDER_FORMATS: none. */
static enum mq_folder_format format_of(const char *text, const struct mq_level **level)
{
    struct mq_named named;
    *level = text && mq_name_find(text, &named) ? named.level : NULL;
    if (!*level || mq_gguf_type_by_storage((*level)->name))
        return MQ_FOLDER_FORMATS;
    for (int f = 0; f < MQ_FOLDER_FORMATS; f++)
        if (mq_split_find((enum mq_folder_format)f, *level))
            return (enum mq_folder_format)f;
    return MQ_FOLDER_FORMATS;
}

/* Of GGUF: a name of a folder, or a level of another format. */
static bool refuse_folder(const struct mq_options *o)
{
    const struct mq_level *level;
    const enum mq_folder_format format = format_of(o->level, &level);
    const size_t n = o->output ? strlen(o->output) : 0;
    char about[PATH_MAX + 160];
    if (format != MQ_FOLDER_FORMATS && !o->unify) {
        snprintf(about, sizeof about,
                 "--level %s is one of folders for another runtime, and export writes GGUF "
                 "without --format",
                 level->name);
        mq_usage_instead("export", about, "moeq export % -o % --format % --level %",
                         (const char *[]){o->positional[0],
                                          o->output && !extension_of(o->output) ? o->output : "DIR",
                                          names[format], level->name});
        return false;
    }
    if (n && (o->output[n - 1] == '/' || mq_path_is_folder(o->output))) {
        snprintf(about, sizeof about,
                 "-o '%s' is a folder, and export writes a GGUF file without --format; for a "
                 "folder, one of mlx, "
                 "compressed-tensors, fp8-block and int8",
                 o->output);
        mq_usage_instead("export", about, "moeq export % -o % --format mlx",
                         (const char *[]){o->positional[0], o->output});
        return false;
    }
    return true;
}

bool mq_export_format(const struct mq_options *o, bool *is_folder, enum mq_folder_format *format)
{
    *is_folder = false;
    if (o->format && !find_format(o->format, is_folder, format))
        return false;
    if (!*is_folder && o->tp) {
        mq_usage("export", "--tp is about folders for vLLM and SGLang: --format "
                           "compressed-tensors, fp8-block or int8");
        return false;
    }
    if (!*is_folder && o->shard_bytes) {
        mq_usage("export", "--shard-size is about folders and moeq files; GGUF files are split by "
                           "--split-max-size");
        return false;
    }
    if (!*is_folder)
        return refuse_folder(o);
    if (o->bpw || o->size || o->gpu || o->vram) {
        mq_usage(
            "export",
            "--%s chooses among the levels of GGUF and moeq files; with --format %s give --level",
            o->bpw    ? "bpw"
            : o->size ? "size"
            : o->gpu  ? "gpu"
                      : "vram",
            names[*format]);
        return false;
    }
    if (*format == MQ_FOLDER_MLX && o->tp > 1) {
        mq_usage("export",
                 "--tp is about vLLM and SGLang; MLX takes any level on any number of machines");
        return false;
    }
    return !extension_of(o->output) || refuse_file(o, *format);
}
