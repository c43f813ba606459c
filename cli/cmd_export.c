/* cmd_export.c: moeq export: GGUF files, for llama.cpp, Ollama and what else reads them. */
#include "quantize_file.h"

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
    const char *name = mq_base_name(path);
    const int stem = (int)(mq_extension(path) - name);
    printf("run it with llama.cpp:  llama-cli -m '%s'\n", path);
    if (plan->files_count > 1)
        printf("run it with Ollama:     not in splits; export without --split-max-size\n");
    else
        printf("run it with Ollama:     echo 'FROM %s%s' > Modelfile && ollama create '%.*s' -f "
               "Modelfile && ollama run '%.*s'\n",
               path[0] == '/' ? "" : "./", path, stem, name, stem, name);
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
    return mq_usage("export",
                    "-o '%s' is the name of a %s file, and export writes GGUF; for a moeq file: "
                    "moeq convert '%s' -o '%s' --level %s",
                    options->output, other_format(options->output), options->positional[0],
                    options->output,
                    options->level    ? options->level
                    : options->recipe ? options->recipe
                                      : "q4_k");
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
