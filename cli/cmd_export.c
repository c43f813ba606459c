/* cmd_export.c: moeq export: GGUF files, for llama.cpp, Ollama and what else reads them. */
#include "quantize_file.h"

#include "escape.h"
#include "text_match.h"

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

enum mq_exit mq_cmd_export(const struct mq_options *options)
{
    if (!options->output && !options->dry_run)
        return mq_usage("export", "-o FILE.gguf is missing (or --dry-run, to see the plan)");
    if (options->output && other_format(options->output))
        return refuse_other(options);
    if (options->unify && strcmp(options->unify, "up") != 0)
        return mq_usage("export", "--unify '%s': expected up", options->unify);
    const struct mq_gguf_options how = {.unify_up = options->unify != NULL,
                                        .split_bytes = options->split_bytes};
    return mq_quantize_file("export", options, &how, print_hints);
}
