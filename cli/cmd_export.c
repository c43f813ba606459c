/* cmd_export.c: moeq export: GGUF files, for llama.cpp, Ollama and what else reads them; folders for other runtimes. */
#include "export_format.h"
#include "quantize_file.h"

#include "escape.h"
#include "text_match.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The commands that run what was written. */
static void print_hints(const struct mq_options *options, const struct mq_plan *plan)
{
    char path[PATH_MAX];
    mq_convert_file_name(options->output, &plan->files[0], path, sizeof path);
    struct mq_buffer file = {0}, from = {0}, name = {0};
    char stem[NAME_MAX + 1];
    snprintf(stem, sizeof stem, "%.*s", (int)(mq_extension(path) - mq_base_name(path)),
             mq_base_name(path));
    mq_shell_word(&file, "", path);
    mq_shell_word(&from, path[0] == '/' ? "FROM " : "FROM ./", path);
    mq_shell_word(&name, "", stem);
    printf("run it with llama.cpp:  llama-cli -m %s\n", mq_printable(&file));
    if (plan->files_count > 1)
        printf("run it with Ollama:     not in splits; export without --split-max-size\n");
    else
        printf("run it with Ollama:     echo %s > Modelfile && ollama create %s -f Modelfile && "
               "ollama run %s\n",
               mq_printable(&from), mq_printable(&name), mq_printable(&name));
    mq_buffer_free(&file);
    mq_buffer_free(&from);
    mq_buffer_free(&name);
}

/* The same of a folder. */
static void print_folder_hints(const struct mq_options *options, const struct mq_plan *plan)
{
    struct mq_buffer folder = {0};
    (void)plan;
    mq_shell_word(&folder, "", options->output);
    if (strcmp(options->format, "mlx") == 0) {
        printf("run it with mlx-lm:     mlx_lm.generate --model %s --prompt \"Hello\"\n",
               mq_printable(&folder));
        printf("run it with LM Studio:  move it to ~/.lmstudio/models/OWNER/NAME\n");
    } else {
        char tp[2][64] = {"", ""};
        if (options->tp > 1) {
            snprintf(tp[0], sizeof tp[0], " --tensor-parallel-size %" PRIu64, options->tp);
            snprintf(tp[1], sizeof tp[1], " --tp-size %" PRIu64, options->tp);
        }
        printf("run it with vLLM:       vllm serve %s%s\n", mq_printable(&folder), tp[0]);
        printf("run it with SGLang:     python -m sglang.launch_server --model-path %s%s\n",
               mq_printable(&folder), tp[1]);
    }
    mq_buffer_free(&folder);
}

/* A name that says another format; a moeq file is a safetensors file. */
static const char *other_format(const char *output)
{
    static const struct {
        const char *extension, *format;
    } others[] = {{".moeq", "moeq"}, {".safetensors", "safetensors"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcasecmp(mq_extension(output), others[i].extension) == 0)
            return others[i].format;
    return NULL;
}

static enum mq_exit refuse_other(const struct mq_options *options)
{
    char about[PATH_MAX + 128];
    const char *level = options->level    ? options->level
                        : options->recipe ? options->recipe
                                          : "q4_k";
    snprintf(about, sizeof about,
             "-o '%s' is the name of a %s file, and export writes GGUF; for a moeq file",
             options->output, other_format(options->output));
    return mq_usage_instead("export", about, "moeq convert % -o % --level %",
                            (const char *[]){options->positional[0], options->output, level});
}

static enum mq_exit export_folder(const struct mq_options *options, enum mq_folder_format format)
{
    const struct mq_folder_options how = {
        .format = format,
        .shard_bytes = options->shard_bytes ? options->shard_bytes : options->split_bytes,
        .tensor_parallel = (uint32_t)options->tp,
        .unify_up = options->unify != NULL,
        .asked = {[MQ_CLASS_EXPERTS] = options->level || options->recipe,
                  [MQ_CLASS_SHARED] = options->shared || options->recipe,
                  [MQ_CLASS_ATTENTION] = options->attention || options->recipe,
                  [MQ_CLASS_EMBEDDINGS] = options->embeddings || options->recipe}};
    if (options->tp > UINT16_MAX)
        return mq_usage("export", "--tp %" PRIu64 ": that many GPUs no runtime cuts a matrix among",
                        options->tp);
    return mq_quantize_file("export", options, NULL, &how, print_folder_hints);
}

enum mq_exit mq_cmd_export(const struct mq_options *options)
{
    bool is_folder = false;
    enum mq_folder_format format = MQ_FOLDER_MLX;
    if (!mq_export_format(options, &is_folder, &format))
        return MQ_EXIT_USAGE;
    if (!options->output && !options->dry_run)
        return mq_usage("export", "-o %s is missing (or --dry-run, to see the plan)",
                        is_folder ? "DIR" : "FILE.gguf");
    if (options->unify && strcmp(options->unify, "up") != 0)
        return mq_usage("export", "--unify '%s': expected up", options->unify);
    if (is_folder)
        return export_folder(options, format);
    if (options->output && other_format(options->output))
        return refuse_other(options);
    const struct mq_gguf_options how = {.unify_up = options->unify != NULL,
                                        .split_bytes = options->split_bytes};
    return mq_quantize_file("export", options, &how, NULL, print_hints);
}
